"""Prefix tokens of the encoder; tests/convert/test_hf_ast.py has the oracle."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ltu_jax.convert.names import expected
from ltu_jax.models.ast import AudioEncoder, EncoderConfig
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import abstract_with_sharding, make_mesh, path_name

CFG = EncoderConfig(
  dim=16, depth=2, heads=2, num_frames=64, dtype="float32", remat="none"
)


def make(**changes) -> AudioEncoder:
  cfg = dataclasses.replace(CFG, **changes)
  with nnx.use_eager_sharding(False):
    return AudioEncoder(cfg, rngs=nnx.Rngs(0))


def params(encoder: AudioEncoder) -> dict[str, jax.Array]:
  flat = nnx.to_flat_state(nnx.state(encoder))
  return {path_name(path): v.get_value() for path, v in flat}


def test_only_the_prefix_is_added():
  without, with_three = params(make()), params(make(prefix_tokens=3))
  assert with_three.pop("prefix").shape == (1, 3, 16)
  assert without.keys() == with_three.keys()
  for name, value in without.items():
    np.testing.assert_array_equal(value, with_three[name])


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_gradient_is_the_same_under_remat(remat):
  fbank = jax.random.normal(jax.random.key(1), (2, 64, 128))

  def grads(policy: str) -> nnx.State:
    graphdef, state = nnx.split(make(prefix_tokens=2, remat=policy))

    def loss(state):
      out = nnx.merge(graphdef, state)(fbank)
      assert out.shape == (2, 32, 16)
      return jnp.square(out - 1).sum()

    return jax.jit(jax.grad(loss))(state)

  got, want = grads(remat), grads("none")
  assert np.abs(want["prefix"].get_value()).max() > 1e-3
  # The same operations; XLA may fuse them in another way.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    got,
    want,
  )


def test_prefix_has_a_name_and_a_layout():
  cfg = LtuConfig(encoder=dataclasses.replace(CFG, prefix_tokens=3))
  _, state = abstract(cfg)
  mesh = make_mesh({"fsdp": 2, "tensor": 2, "data": 2})
  laid = dict(nnx.to_flat_state(abstract_with_sharding(state, mesh)))
  prefix = laid["encoder", "prefix"].get_value()
  # 3 tokens do not divide: only the width is cut.
  assert prefix.sharding.shard_shape(prefix.shape) == (1, 3, 8)
  names = {path: name for path, _, name in expected(cfg, ["encoder"])}
  assert names["encoder/prefix"] == "model.audio_encoder.prefix_tokens"
  assert names.keys() == {
    path_name(path) for path in laid if path[0] == "encoder"
  }
