"""Base folders: whole or not there, known by their hash, clear when wrong."""

import dataclasses
import json
import os

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx

import golden_data
from checkpoint_states import bits
from ltu_jax import base, base_load, tree_names
from ltu_jax.base_reader import BaseReader
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.models import quantized
from ltu_jax.models.ltu import PART_TYPES
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import abstract_params, init_params, split_parts


def config(param_dtype="bfloat16"):
  cfg = golden_data.config("forward_a")
  llama = dataclasses.replace(cfg.llama, param_dtype=param_dtype)
  return dataclasses.replace(cfg, llama=llama)


def parts(cfg, names=tuple(PART_TYPES)):
  return {name: getattr(cfg, name) for name in names}


def mesh(**shape):
  return make_mesh(shape, jax.devices()[: np.prod(list(shape.values()))])


def target(cfg, on, names=tuple(PART_TYPES)):
  return nnx.to_pure_dict(split_parts(abstract_params(cfg, on), names)[0])


def random_params(cfg, on, names=tuple(PART_TYPES)):
  """Parameters on a mesh, without compiling their initialisers."""
  rng = np.random.default_rng(0)
  make = lambda s: jax.device_put(
    rng.normal(size=s.shape).astype(s.dtype), s.sharding
  )
  return jax.tree.map(make, target(cfg, on, names))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
  """A base folder written from a mesh, and its parameters."""
  cfg = config()
  params = random_params(cfg, mesh(fsdp=2, tensor=2))
  path = tmp_path_factory.mktemp("base") / "base"
  base.save(path, params, parts(cfg), ["random"])
  return path, params


@pytest.mark.parametrize("shape", [{"data": 1}, {"fsdp": 4, "tensor": 2}])
def test_same_bits_on_any_mesh(saved, shape):
  path, params = saved
  wanted = target(config(), mesh(**shape))
  got = base_load.load(path, wanted)
  assert bits(got) == bits(params)
  for array, struct in zip(
    jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True
  ):
    assert array.sharding.is_equivalent_to(struct.sharding, array.ndim)
    assert array.dtype == struct.dtype


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("shape", [{"data": 1}, {"fsdp": 4, "tensor": 2}])
def test_rounds_to_integers_while_loading(saved, shape, dtype):
  path, params = saved
  cfg = config()
  llama = dataclasses.replace(cfg.llama, base_dtype=dtype)
  wanted = target(dataclasses.replace(cfg, llama=llama), mesh(**shape))
  got = base_load.load(path, wanted)
  for name in ("q_proj", "o_proj", "down_proj"):
    want = jax.vmap(lambda w: quantized.quantize(w, dtype))(
      jnp.asarray(np.asarray(params["llama"]["layers"][name]["w"]))
    )
    layer = got["llama"]["layers"][name]
    assert bits([layer["w"], layer["w_scale"]]) == bits(list(want))
    assert layer["w"].sharding == wanted["llama"]["layers"][name]["w"].sharding
  assert bits(got["llama"]["embedding"]) == bits(params["llama"]["embedding"])
  assert bits(got["encoder"]) == bits(params["encoder"])


def test_info_and_single_arrays(saved):
  path, params = saved
  found = base.info(path)
  assert found.parts == parts(config())
  assert found.origin == ("random",)
  reader = BaseReader(path)
  name = base.stored_name("llama/layers/q_proj/w", 1)
  assert name == "llama/layers/1/q_proj/w"
  array = reader.read(name)
  assert array.dtype == reader.shapes[name].dtype == ml_dtypes.bfloat16
  want = np.asarray(params["llama"]["layers"]["q_proj"]["w"])[1]
  assert array.tobytes() == want.tobytes()
  # Everything is stored layer by layer: nothing stacked, nothing lost.
  count = lambda tree: sum(x.size for x in jax.tree.leaves(tree))
  assert count(reader.shapes) == count(params)
  assert not any("layers/q_proj" in name for name in reader.shapes)


def test_a_part_alone(tmp_path):
  cfg, on = config(), mesh(data=1)
  one = init_params(cfg, on, jax.random.key(3), ("projector",))
  two = init_params(cfg, on, jax.random.key(3), ("projector", "lora"))
  one, two = nnx.to_pure_dict(one), nnx.to_pure_dict(two)
  # A part's start values do not depend on which others are made.
  assert bits(one["projector"]) == bits(two["projector"])
  base.save(tmp_path / "e", one, parts(cfg, ["projector"]), [])
  got = base_load.load(tmp_path / "e", target(cfg, on, ["projector"]))
  assert bits(got) == bits(one)
  with pytest.raises(CheckpointError, match="another model") as e:
    base_load.load(tmp_path / "e", target(cfg, on, ["encoder", "projector"]))
  assert "encoder/norm/scale" in str(e.value)


def test_hash_is_of_names_dtypes_shapes_and_bytes(tmp_path):
  x = np.arange(6, dtype=np.float32)
  cases = [
    {"a": x},
    {"b": x},
    {"a": x.reshape(2, 3)},
    {"a": x.view(np.int32)},
    {"a": x + 1},
    {"a": x, "b": x},
  ]
  hashes = set()
  for i, arrays in enumerate(cases):
    with base.BaseWriter(tmp_path / str(i), {}, []) as writer:
      for name, array in arrays.items():
        writer.add(name, array)
    hashes.add(base.info(tmp_path / str(i)).content_hash)
  assert len(hashes) == len(cases)
  digest = lambda name: tree_names.array_hash(name, x)
  both = {"a": digest("a"), "b": digest("b")}
  assert base.info(tmp_path / "5").content_hash == tree_names.combined_hash(
    dict(reversed(both.items()))
  )


def test_nothing_half_written(tmp_path, monkeypatch):
  path = tmp_path / "b"
  with pytest.raises(RuntimeError), base.BaseWriter(path, {}, []) as writer:
    writer.add("a", np.ones(3))
    raise RuntimeError
  assert list(tmp_path.iterdir()) == []
  # What a killed process leaves is never taken for whole, and goes.
  (tmp_path / "b.incomplete" / "weights").mkdir(parents=True)
  with pytest.raises(CheckpointError, match="there are no base weights"):
    base.info(path)
  monkeypatch.setattr(base, "_FLUSH_BYTES", 8)  # several partial saves
  with base.BaseWriter(path, {}, []) as writer:
    writer.add("a", np.ones(3))
    writer.add("b/c", np.zeros((2, 2)))
  assert [p.name for p in tmp_path.iterdir()] == ["b"]
  assert BaseReader(path).read("b/c").shape == (2, 2)
  with pytest.raises(CheckpointError, match="exists"):
    base.BaseWriter(path, {}, [])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("drop_orbax_rest")
def test_errors(tmp_path):
  cfg, on = config(), mesh(data=1)
  params = random_params(cfg, on, ["llama"])
  path = tmp_path / "base"
  base.save(path, params, parts(cfg, ["llama"]), [])
  other = config("float32")
  with pytest.raises(CheckpointError, match="another model's weights") as e:
    base_load.load(path, target(other, on, ["llama"]))
  assert "llama/embedding" in str(e.value)
  assert "bfloat16" in str(e.value) and "float32" in str(e.value)
  (tmp_path / "text").mkdir()
  with pytest.raises(CheckpointError, match="text: there are no base weights"):
    base.info(tmp_path / "text")
  found = json.loads((path / "base.json").read_text())
  for broken in (
    *("{", "[]", json.dumps(found | {"version": 99}), "{}", "[" * 100_000),
    json.dumps(found | {"parts": None}),
    json.dumps(found | {"parts": {"llama": None}}),
    json.dumps(found | {"parts": {"llama": {"layers": "2"}}}),
    json.dumps(found | {"content_hash": 3}),
  ):
    (tmp_path / "text" / "base.json").write_text(broken)
    with pytest.raises(CheckpointError, match="cannot be used"):
      base.info(tmp_path / "text")
  for data in (path / "weights" / "state").glob("ocdbt.process_*/d/*"):
    os.truncate(data, 3)
  with pytest.raises(CheckpointError, match="base weights are damaged"):
    base_load.load(path, target(cfg, on, ["llama"]))


def test_a_changed_number_is_found(saved, tmp_path):
  """The files are right, and one number is not what was stored."""
  path, params = saved
  cfg = config()
  other = jax.tree.map(lambda x: x, params)
  name, struct = next(iter(tree_names.leaves(other["projector"]).items()))
  changed = np.array(struct)
  changed.flat[0] += 1
  other["projector"] = tree_names.nested(
    tree_names.leaves(other["projector"]) | {name: changed}
  )
  copy = tmp_path / "base"
  base.save(copy, other, parts(cfg), ["random"])
  (copy / "base.json").write_bytes((path / "base.json").read_bytes())
  words = (
    f"weights are damaged .projector/{name}: not the numbers stored.*again"
  )
  with pytest.raises(CheckpointError, match=words):
    base_load.load(copy, target(cfg, mesh(fsdp=2)))
  base_load.load(path, target(cfg, mesh(fsdp=2)))
