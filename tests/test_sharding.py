import ast
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

import golden_data
from ltu_jax import sharding
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import (
  ShardingError,
  abstract_with_sharding,
  from_local_rows,
  local_rows,
  make_mesh,
  misfits,
  path_name,
  spec_of,
)
from ltu_jax.train_state import (
  PartitionError,
  abstract_params,
  abstract_state,
  split_params,
)


def test_minus_one_takes_the_devices_left():
  mesh = make_mesh({"fsdp": -1, "tensor": 2})
  assert dict(mesh.shape) == {"data": 1, "fsdp": 4, "tensor": 2}


@pytest.mark.parametrize(
  "shape, words",
  [
    ({"fsdp": 3}, "3 devices, but there are 8"),
    ({"modell": 8}, "modell"),
    ({"fsdp": -1, "tensor": -1}, "one axis"),
    ({"fsdp": -1, "tensor": 3}, "devices"),
    ({"data": 0, "fsdp": -1}, "needs 0 devices"),
  ],
)
def test_mesh_that_does_not_fit(shape, words):
  with pytest.raises(ShardingError, match=words):
    make_mesh(shape)


def test_the_data_axis_goes_over_slices(monkeypatch):
  # CPU devices are of no slice; the command of ltu_jax.aot, which is tested on
  # two slices of the TPU compiler's, goes through the same function.
  first, second = jax.devices()[::2], jax.devices()[1::2]
  monkeypatch.setattr(sharding, "_by_slice", lambda devices: [first, second])
  mesh = make_mesh({"data": 4, "fsdp": 2})
  assert {*mesh.devices[:2].flat} == {*first}
  assert {*mesh.devices[2:].flat} == {*second}
  with pytest.raises(ShardingError, match="2 slices; make it a multiple of 2"):
    make_mesh({"data": 1, "fsdp": 8})


def test_every_parameter_has_a_rule():
  _, state = abstract(golden_data.config("forward_a"))
  placed = abstract_with_sharding(state, make_mesh({"fsdp": 2, "tensor": 4}))
  specs = {
    path_name(path): tuple(var.get_value().sharding.spec)
    for path, var in nnx.to_flat_state(placed)
  }
  assert specs["llama/layers/q_proj/w"] == (None, "fsdp", "tensor", None)
  assert specs["llama/embedding"] == ("tensor", "fsdp")
  assert specs["encoder/blocks/fc2/w"] == (None, "tensor", "fsdp")


def test_axis_without_a_rule_names_the_parameter():
  with pytest.raises(ShardingError, match=r"a/b.*'colour'.*RULES"):
    spec_of(("embed", "colour"), "a/b")


def test_parameter_without_axes_is_named():
  with nnx.use_eager_sharding(False):
    layer = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
  with pytest.raises(ShardingError, match=r"kernel|bias"):
    abstract_with_sharding(nnx.state(layer), make_mesh({"fsdp": 8}))


def test_size_that_does_not_divide_is_named():
  _, state = abstract(golden_data.config("forward_b"))  # width 48, 3 heads
  words = r"'(encoder|llama)/\S+'.*divide into 8 parts.*tensor.*fits.*(\{.*\})"
  with pytest.raises(ShardingError, match=words) as told:
    abstract_with_sharding(state, make_mesh({"tensor": 8}))
  # The mesh that the error names does work.
  named = ast.literal_eval(re.search(words, str(told.value)).group(2))
  abstract_with_sharding(state, make_mesh(named))


def test_every_size_that_does_not_divide_is_found():
  _, state = abstract(golden_data.config("forward_b"))  # width 48, 3 heads
  found = misfits(state, make_mesh({"tensor": 8}))
  names = {"llama/layers/q_proj/w", "encoder/blocks/qkv/w"}
  assert names <= {misfit.name for misfit in found}
  assert {"heads", "audio_heads"} <= {misfit.axis for misfit in found}
  assert all(m.size % m.parts and m.size in m.shape for m in found)
  assert misfits(state, make_mesh({"data": 8})) == []


def test_split_by_path():
  _, state = abstract(golden_data.config("forward_a"))
  trainable, frozen = split_params(state, ("^projector/", "/lora_[ab]$"))
  names = {path_name(p) for p, _ in nnx.to_flat_state(trainable)}
  assert names == {
    "projector/w",
    "projector/b",
    *(f"llama/layers/{q}_proj/lora_{x}" for q in "qv" for x in "ab"),
  }
  both = nnx.merge_state(trainable, frozen)
  assert jax.tree.structure(both) == jax.tree.structure(state)


@pytest.mark.parametrize("patterns", [(), ("^projector/", "^projektor/")])
def test_pattern_that_matches_nothing_is_named(patterns):
  _, state = abstract(golden_data.config("forward_a"))
  with pytest.raises(PartitionError, match=r"projektor|empty"):
    split_params(state, patterns)


def test_moments_lie_as_their_parameters():
  mesh = make_mesh({"fsdp": 2, "tensor": 4})
  params = abstract_params(golden_data.config("forward_a"), mesh)
  trainable, _ = split_params(params, ("^encoder/",))
  state = abstract_state(trainable, mesh)
  same = jax.tree.map(
    lambda p, m, v: p.sharding == m.sharding == v.sharding,
    state["trainable"],
    state["opt"].mu,
    state["opt"].nu,
  )
  assert all(jax.tree.leaves(same))
  assert state["step"].dtype == jnp.int32


def test_each_device_holds_its_share():
  """fsdp and tensor together cut LTU-7B in as many parts as devices."""
  mesh = make_mesh({"fsdp": 4, "tensor": 2})
  params = abstract_params(LtuConfig(), mesh)
  whole = sum(x.size for x in jax.tree.leaves(params))
  held = sum(
    math.prod(x.sharding.shard_shape(x.shape)) for x in jax.tree.leaves(params)
  )
  # Norms, biases, positions and adapters are cut less or not at all.
  assert whole / 8 <= held < 1.01 * whole / 8


def test_each_device_gets_its_rows():
  """Also where two axes of the mesh, or none, cut the rows."""
  mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
  value = np.arange(2 * 8 * 3).reshape(2, 8, 3)
  for axes in (("data", "fsdp"), "fsdp", None):
    cut = NamedSharding(mesh, PartitionSpec(None, axes))
    assert local_rows(cut, (2, 8)) == list(range(8))
    array = from_local_rows(cut, value, 8)
    assert array.sharding == cut
    np.testing.assert_array_equal(jax.device_get(array), value)
