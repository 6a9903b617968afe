"""Frozen weights as 8- or 4-bit integers, each output channel with its scale.

Only weights are integers (by qwix); activations, and so the gradients that pass
through, keep their dtype. Letters: D inputs, G groups of inputs with a scale of
their own, `out` one or more axes of outputs.
"""

import functools

import jax
import jax.numpy as jnp
import qwix

GROUPS = {"int8": 0, "int4": 64}
"""dtype -> inputs that share a scale; 0 for all. 4 bits need small groups: 64
as in QLoRA (Dettmers et al., 2023)."""


def check(dtype: str) -> None:
  """Refuses a dtype that weights cannot have.

  Raises:
    ValueError: Neither "" nor one of GROUPS.
  """
  if dtype and dtype not in GROUPS:
    raise ValueError(f"base_dtype {dtype!r}: '' or one of {sorted(GROUPS)}")


def num_groups(inputs: int, dtype: str) -> int:
  """G of a weight with D inputs; one where they do not divide into groups."""
  size = GROUPS[dtype]
  return inputs // size if size and inputs % size == 0 else 1


def quantize(w: jax.Array, dtype: str) -> tuple[jax.Array, jax.Array]:
  """Rounds a weight to integers.

  Args:
    w: [D, *out], of a floating dtype.
    dtype: Key of GROUPS.

  Returns:
    Integers [D, *out] and float32 scales [G, *out].
  """
  groups = num_groups(w.shape[0], dtype)
  found = qwix.quantize(
    w.astype(jnp.float32),
    dtype,
    channelwise_axes=range(1, w.ndim),
    tiled_axes={0: w.shape[0] // groups},
  )
  return found.qvalue, found.scale


# Nothing of it is kept for the backward pass but x and the integers.
@functools.partial(jax.checkpoint, prevent_cse=False)
def dot(x: jax.Array, values: jax.Array, scale: jax.Array) -> jax.Array:
  """Contracts the last axis of x with the inputs of a quantized weight.

  Args:
    x: [..., D].
    values: Integers [D, *out].
    scale: [G, *out].

  Returns:
    [..., *out] in the dtype of x.
  """
  if scale.shape[0] == 1:
    # Integers of 8 bits are exact in bfloat16; the scale is applied in float32.
    y = jnp.tensordot(x, values.astype(x.dtype), axes=1)
    return (y * scale[0]).astype(x.dtype)
  # A product for each group would hold G results of this size.
  w = qwix.dequantize(qwix.QArray(values, scale))
  return jnp.tensordot(x, w.astype(x.dtype), axes=1)
