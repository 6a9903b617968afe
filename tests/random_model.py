"""Models with random weights, without compiling every initialiser."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ltu_jax.convert.names import expected, to_published
from ltu_jax.convert.tensors import Tensor, of_array
from ltu_jax.models.ltu import LTU, PART_TYPES, LtuConfig, abstract
from ltu_jax.sharding import path_name


def random_model(cfg: LtuConfig, seed: int = 0) -> LTU:
  """LTU whose every parameter is drawn from a normal of deviation 0.1."""
  rng = np.random.default_rng(seed)
  graphdef, state = abstract(cfg)
  flat = [
    (path, v.replace(jnp.asarray(rng.normal(size=v.shape) / 10, v.dtype)))
    for path, v in nnx.to_flat_state(state)
  ]
  return nnx.merge(graphdef, nnx.from_flat_state(flat))


def published_tensors(model: LTU) -> dict[str, Tensor]:
  """The weights of a model by their canonical names."""
  arrays = {
    path_name(path): np.asarray(variable.get_value())
    for path, variable in nnx.to_flat_state(nnx.state(model))
  }
  parts = [p for p in PART_TYPES if p != "lora" or model.cfg.lora.rank]
  found = {}
  for path, layer, name in expected(model.cfg, parts):
    array = arrays[path] if layer is None else arrays[path][layer]
    found[name] = of_array(to_published(path, array, model.cfg.encoder), name)
  return found
