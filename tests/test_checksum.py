"""Checksums: the same on any mesh and in NumPy, another for any change."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from checkpoint_states import make_state, mesh
from ltu_jax import checksum

DTYPES = (
  *("float32", "bfloat16", "float16", "float8_e4m3fn"),
  *("int32", "int8", "uint16", "bool"),
)


def values(dtype, shape=(16, 6, 5)):
  rng = np.random.default_rng(0)
  raw = rng.integers(0, 2 if dtype == "bool" else 256, (*shape, 4), np.uint8)
  kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
  if dtype == "bool":
    return raw[..., 0].astype(bool)
  return np.ascontiguousarray(raw[..., : kind.itemsize]).view(kind)[..., 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_on_any_mesh_and_on_the_host(dtype):
  array = values(dtype)
  want = checksum.of_array(array)
  for shape, spec in (
    ((1, 1), P()),
    ((2, 4), P("fsdp")),
    ((4, 2), P("data", "fsdp")),
    ((2, 4), P(("data", "fsdp"))),
  ):
    where = NamedSharding(mesh(*shape), spec)
    assert checksum.of_tree({"x": jax.device_put(array, where)}) == {"x": want}


def test_a_block_at_a_time_is_the_whole(monkeypatch):
  array = values("float32")
  whole = checksum.of_array(array)
  monkeypatch.setattr(checksum, "_BLOCK", 7)
  assert checksum.of_array(array) == whole


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 16 * 6 * 5 - 1), st.integers(0, 31))
def test_any_flipped_bit_changes_it(place, bit):
  array = values("float32")
  before = checksum.of_array(array)
  array.reshape(-1).view(np.uint32)[place] ^= np.uint32(1 << bit)
  assert checksum.of_array(array) != before


def test_swapped_moved_and_reshaped_values_change_it():
  array = values("float32")
  seen = {
    checksum.of_array(x)
    for x in (
      array,
      array[::-1],
      np.roll(array, 1),
      array.transpose(1, 0, 2),
      np.zeros_like(array),
      -np.zeros_like(array),
    )
  }
  assert len(seen) == 6


def test_names_what_differs_in_a_whole_state():
  state = make_state(mesh(2, 4))
  before = checksum.of_tree(state)
  assert "rng" in before and "trainable/lora/a" in before
  state["trainable"]["lora"]["a"] = (
    state["trainable"]["lora"]["a"].at[1].add(jnp.float32(1e-3))
  )
  after = checksum.of_tree(state)
  assert checksum.different(before, after) == ["trainable/lora/a"]
