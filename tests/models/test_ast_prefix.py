"""Prefix tokens of the encoder; tests/convert/test_hf_ast.py has the oracle."""

import dataclasses

import jax
from flax import nnx

from ltu_jax.convert.names import expected
from ltu_jax.models.ast import AudioEncoder, EncoderConfig
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import abstract_with_sharding, make_mesh, path_name

CFG = EncoderConfig(dim=16, depth=2, heads=2, num_frames=64)


def shapes(**changes) -> dict[str, tuple[int, ...]]:
  cfg = dataclasses.replace(CFG, **changes)
  with nnx.use_eager_sharding(False):
    encoder = jax.eval_shape(lambda: AudioEncoder(cfg, rngs=nnx.Rngs(0)))
  flat = nnx.to_flat_state(nnx.state(encoder))
  return {path_name(path): v.get_value().shape for path, v in flat}


def test_only_the_prefix_is_added():
  assert shapes(prefix_tokens=3) == shapes() | {"prefix": (1, 3, 16)}


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
