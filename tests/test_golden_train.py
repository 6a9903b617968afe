"""Twenty steps of the published Trainer, reproduced; on one device.

Other meshes: test_mesh_equality.py.
"""

import jax
from flax import nnx

import golden_data
from golden_training import compare_final, compare_history, train
from ltu_jax.sharding import make_mesh, shardings
from ltu_jax.train_state import abstract_params


def test_twenty_steps():
  mesh = make_mesh({}, jax.devices()[:1])
  params = nnx.state(golden_data.model("forward_a"))
  on_mesh = shardings(abstract_params(golden_data.config("forward_a"), mesh))
  history, state, frozen = train(jax.device_put(params, on_mesh), mesh)
  compare_history(history)
  compare_final(nnx.merge_state(state["trainable"], frozen))
