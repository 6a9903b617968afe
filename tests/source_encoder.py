"""The encoder that a converted source describes, for comparing outputs."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ltu_jax.convert.names import expected, published_shape, to_ours
from ltu_jax.convert.tensors import Source
from ltu_jax.models.ast import AudioEncoder
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import path_name

skeleton = functools.cache(abstract)


def encoder(source: Source, **changes) -> AudioEncoder:
  """The source's encoder, computing in float32, with sizes changed."""
  encoder_cfg = dataclasses.replace(
    source.parts["encoder"], dtype="float32", **changes
  )
  cfg = LtuConfig(encoder=encoder_cfg)
  graphdef, state = skeleton(cfg)
  needed = list(expected(cfg, ["encoder"]))
  assert source.tensors.keys() == {name for _, _, name in needed}
  flat = []
  for path, variable in nnx.to_flat_state(state):
    value, arrays = variable.get_value(), []
    for ours, layer, name in needed:
      if ours == path_name(path):
        shape = value.shape if layer is None else value.shape[1:]
        tensor = source.tensors[name]
        array = tensor.read()
        assert (array.shape, array.dtype) == (tensor.shape, tensor.dtype)
        assert array.shape == published_shape(ours, shape, encoder_cfg)
        arrays.append(to_ours(ours, array, shape).astype(value.dtype))
    if arrays:
      value = jnp.asarray(np.reshape(arrays, value.shape))
    flat.append((path, variable.replace(value)))
  return nnx.merge(graphdef, nnx.from_flat_state(flat)).encoder
