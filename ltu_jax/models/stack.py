"""Layers of one kind, stacked along a leading "layers" axis for lax.scan."""

from collections.abc import Callable

import jax
from flax import nnx


def stack(
  make: Callable[[nnx.Rngs], nnx.Module], num_layers: int, rngs: nnx.Rngs
) -> nnx.Module:
  """Builds `num_layers` modules whose parameters are stacked on axis 0.

  `transform_metadata` adds "layers" to every parameter's logical axes; a bare
  vmap would shift them by one.
  """
  build = nnx.transform_metadata(
    lambda key: make(nnx.Rngs(key)), in_axes=0, out_axes=0, partition="layers"
  )
  return jax.vmap(build)(jax.random.split(rngs.params(), num_layers))
