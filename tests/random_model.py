"""Models with random weights, without compiling every initialiser."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ltu_jax.models.ltu import LTU, LtuConfig, abstract


def random_model(cfg: LtuConfig, seed: int = 0) -> LTU:
  """LTU whose every parameter is drawn from a normal of deviation 0.1."""
  rng = np.random.default_rng(seed)
  graphdef, state = abstract(cfg)
  flat = [
    (path, v.replace(jnp.asarray(rng.normal(size=v.shape) / 10, v.dtype)))
    for path, v in nnx.to_flat_state(state)
  ]
  return nnx.merge(graphdef, nnx.from_flat_state(flat))
