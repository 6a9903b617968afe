"""Base weights: saved once, known by their hash, clear when wrong."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checkpoint_states import abstract, bits, make_state, mesh
from ltu_jax import checkpoint, tree_names
from ltu_jax.checkpoint import CheckpointError


def test_base_round_trip_hash_and_mesh(tmp_path):
  tree = make_state(mesh(2, 4))["trainable"]
  path = tmp_path / "base"
  content_hash = checkpoint.save_base(path, tree, {"source": "random"})
  assert content_hash == tree_names.tree_hash(jax.device_get(tree))
  # The same weights again are no error: a restarted run does this.
  assert checkpoint.save_base(path, tree, {}) == content_hash
  wanted = abstract(tree, mesh(1, 2))
  got, metadata = checkpoint.load_base(path, wanted, content_hash)
  assert bits(got) == bits(tree)
  assert metadata == {"source": "random", "content_hash": content_hash}
  assert checkpoint.base_metadata(path) == metadata


def test_hash_sees_names_dtypes_shapes_and_bytes():
  x = np.arange(6, dtype=np.float32)
  trees = [
    {"a": x},
    {"b": x},
    {"a": x.reshape(2, 3)},
    {"a": x.view(np.int32)},
    {"a": x + 1},
    {"a": {"a": x}},
  ]
  assert len({tree_names.tree_hash(tree) for tree in trees}) == len(trees)
  assert tree_names.tree_hash({"a": x, "b": x}) == tree_names.tree_hash(
    {"b": x, "a": x}
  )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("drop_orbax_rest")
def test_base_errors(tmp_path):
  tree = {"w": jax.random.normal(jax.random.key(0), (64, 64)), "v": jnp.ones(2)}
  wanted = abstract(tree, mesh(1, 1))
  path = tmp_path / "base"
  with pytest.raises(CheckpointError, match="base: there are no base weights"):
    checkpoint.load_base(path, wanted)
  # What a save leaves that was killed before its last rename.
  rest = tmp_path / "base.orbax-checkpoint-tmp"
  rest.mkdir()
  (rest / "_METADATA").write_text("{}")
  with pytest.raises(CheckpointError, match="base: there are no base weights"):
    checkpoint.load_base(path, wanted)
  checkpoint.save_base(path, tree, {})
  assert not rest.exists()
  with pytest.raises(CheckpointError, match="holds other base weights"):
    checkpoint.save_base(path, {"w": jnp.zeros((2, 3))}, {})
  with pytest.raises(
    CheckpointError, match="trained on base weights with hash"
  ):
    checkpoint.load_base(path, wanted, "0" * 64)
  other = {"w": jnp.ones((3, 3)), "u": jnp.ones(2)}
  with pytest.raises(CheckpointError) as e:
    checkpoint.load_base(path, abstract(other, mesh(1, 1)))
  names = [line.split()[0] for line in str(e.value).splitlines()[2:]]
  assert names == ["u", "v", "w"]
  with pytest.raises(CheckpointError, match="base has the key 1"):
    checkpoint.save_base(tmp_path / "other", {1: jnp.ones(1)}, {})
  (tmp_path / "text").mkdir()
  with pytest.raises(CheckpointError, match="text: "):
    checkpoint.load_base(tmp_path / "text", wanted)
  for part in (path / "state" / "ocdbt.process_0" / "d").iterdir():
    os.truncate(part, 3)
  with pytest.raises(
    CheckpointError, match="base: the base weights are damaged"
  ):
    checkpoint.load_base(path, wanted)
