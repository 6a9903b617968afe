"""The published optimiser: AdamW without decay, linear warm-up, linear to 0."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class Schedule(NamedTuple):
  """Learning rate of a stage; traced values, so stages share one compile.

  Attributes:
    peak: rate at the end of the warm-up.
    warmup: steps from 0 to the peak; the first step has rate 0.
    total: steps after which the rate is 0.
  """

  peak: float | jax.Array
  warmup: int | jax.Array
  total: int | jax.Array

  def __call__(self, step: jax.Array) -> jax.Array:
    """The rate used in step 0, 1, ...: float32 scalar."""
    step = jnp.asarray(step, jnp.float32)
    up = step / jnp.maximum(1, self.warmup)
    down = (self.total - step) / jnp.maximum(1, self.total - self.warmup)
    rate = jnp.where(step < self.warmup, up, jnp.maximum(0.0, down))
    return jnp.asarray(self.peak * rate, jnp.float32)


def adam(
  b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
  """Adam's direction with the published constants (finetune.py of LTU).

  State and update are those of `optax.scale_by_adam`, but 1 - b^t is taken
  without cancellation: in float32, 1 - 0.999^t is off by 1e-5 in the first
  steps, which is ten times what the golden steps allow.

  The rate is not in it: the step multiplies by `-Schedule(step)`.
  """

  def init(params):
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    return optax.ScaleByAdamState(jnp.int32(0), zeros(), zeros())

  def update(grads, state, params=None):
    del params
    count = state.count + 1
    mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
    nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, grads)
    rest1, rest2 = (-jnp.expm1(count * math.log(b)) for b in (b1, b2))
    direction = jax.tree.map(
      lambda m, v: (m / rest1) / (jnp.sqrt(v / rest2) + eps), mu, nu
    )
    return direction, optax.ScaleByAdamState(count, mu, nu)

  return optax.GradientTransformation(init, update)


def clip_by_norm(
  grads: optax.Updates, max_norm: float = 1.0
) -> tuple[optax.Updates, jax.Array]:
  """Scales gradients down to `max_norm`, as torch's clip_grad_norm_ does.

  Returns:
    The gradients times min(1, max_norm / (norm + 1e-6)), and the norm before.
  """
  norm = optax.tree.norm(grads)
  scale = jnp.minimum(1.0, max_norm / (norm + 1e-6))
  return jax.tree.map(lambda g: g * scale.astype(g.dtype), grads), norm
