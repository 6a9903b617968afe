"""Cross entropy over a large vocabulary without all logits at once.

Axis letters: B rows, T text positions, D model width, V vocabulary.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


def weighted_sum(
  logits: Callable[[jax.Array], jax.Array],
  hidden: jax.Array,
  targets: jax.Array,
  weights: jax.Array,
  chunk: int = 0,
) -> jax.Array:
  """Sum of weighted cross entropies.

  Logits of `chunk` positions of all rows exist at a time, in the forward and in
  the backward pass, which makes them again: one more output matmul, 2 % of
  LTU-7B's forward pass.

  Args:
    logits: [B, t, D] -> float32 [B, t, V].
    hidden: [B, T, D].
    targets: int32 [B, T].
    weights: float32 [B, T].
    chunk: positions at a time; 0 for all.

  Returns:
    float32 scalar.
  """

  def part(hidden, targets, weights):
    losses = optax.softmax_cross_entropy_with_integer_labels(
      logits(hidden), targets
    )
    return jnp.sum(losses * weights)

  length = targets.shape[1]
  num = -(-length // chunk) if chunk else 1
  if num == 1:
    return part(hidden, targets, weights)
  rest = num * chunk - length

  def cut(x):
    # Along the positions: the rows lie on different devices.
    x = jnp.pad(x, ((0, 0), (0, rest), *[(0, 0)] * (x.ndim - 2)))
    x = x.reshape(x.shape[0], num, chunk, *x.shape[2:])
    return jnp.moveaxis(x, 1, 0)

  # As in models/remat.py: a scan needs no barrier against merging.
  body = jax.checkpoint(
    lambda total, inputs: (total + part(*inputs), None), prevent_cse=False
  )
  inputs = jax.tree.map(cut, (hidden, targets, weights))
  return jax.lax.scan(body, jnp.float32(0), inputs)[0]
