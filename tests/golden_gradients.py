"""The published loss and gradients, and how close ours must come."""

import functools

import numpy as np
from flax import nnx

import golden_data
from ltu_jax.convert.from_torch import import_state_dict
from ltu_jax.models.ltu import abstract
from ltu_jax.sharding import path_name

TRAINABLE = ("^encoder/", "^projector/", "lora_")

# golden/README.md: the same runs in float64 differ by at most 1e-6 in the loss,
# 4e-8 (a) and 3e-5 (b, values up to 15) in gradients; ten times that leaves
# room for another order of summation.
LOSS_ATOL = 1e-5
GRAD_ATOL = {"forward_a": 4e-7, "forward_b": 3e-4}


@functools.cache
def published_gradients(name: str) -> dict[tuple, np.ndarray]:
  """The published gradients by our parameters' paths.

  The importer brings them into our layout, as it does weights.
  """
  cfg = golden_data.config(name)
  grads = golden_data.params(name, "grad")
  assert len(grads) == golden_data.meta(name)["trainable"]
  filled = golden_data.params(name) | grads
  state = import_state_dict(abstract(cfg)[1], cfg, filled)
  return {
    path: np.asarray(v.get_value()) for path, v in nnx.to_flat_state(state)
  }


def compare_gradients(name: str, loss, grads: nnx.State) -> None:
  """Asserts the published loss and each published gradient."""
  np.testing.assert_allclose(
    loss, golden_data.load(name)["out/loss"], rtol=0, atol=LOSS_ATOL
  )
  want, got = published_gradients(name), nnx.to_flat_state(grads)
  assert len(got) > 20
  for path, grad in got:
    np.testing.assert_allclose(
      grad.get_value(),
      want[path],
      rtol=0,
      atol=GRAD_ATOL[name],
      err_msg=path_name(path),
    )
    assert np.any(want[path]), path_name(path)
