"""What the compiled training step holds and computes."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import pytest

from ltu_jax import optim
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import abstract_params, abstract_state, split_params
from ltu_jax.train_step import make_train_step

TRAINABLE = ("^encoder/", "^projector/", "lora_")

B, T, V = 8, 33, 8192


def config(remat: str = "full", base_dtype: str = "") -> LtuConfig:
  """A small model with a large vocabulary."""
  return LtuConfig(
    encoder=EncoderConfig(
      dim=16, depth=2, heads=2, patch_mels=128, remat=remat, dtype="float32"
    ),
    llama=LlamaConfig(
      vocab=V,
      dim=16,
      mlp_dim=40,
      layers=3,
      heads=2,
      kv_heads=2,
      remat=remat,
      dtype="float32",
      param_dtype="float32",
      base_dtype=base_dtype,
    ),
    lora=LoraConfig(rank=2),
  )


@functools.cache
def compiled(chunk: int, remat: str = "full", base_dtype: str = ""):
  """The training step, compiled."""
  cfg = config(remat, base_dtype)
  mesh = make_mesh({}, jax.devices()[:1])
  trainable, frozen = split_params(abstract_params(cfg, mesh), TRAINABLE)
  step = make_train_step(
    abstract(cfg)[0], trainable, frozen, mesh, loss_chunk=chunk
  )
  text = lambda dtype: jax.ShapeDtypeStruct((1, B, T), dtype)
  batch = {
    "fbank": jax.ShapeDtypeStruct((1, B, 1024, 128), jnp.float32),
    "has_audio": jax.ShapeDtypeStruct((1, B), jnp.bool_),
    "loss_weights": text(jnp.float32),
  } | {k: text(jnp.int32) for k in ("tokens", "positions", "segment_ids")}
  scalar = jax.ShapeDtypeStruct((), jnp.float32)
  state = abstract_state(trainable, mesh)
  schedule = optim.Schedule(scalar, scalar, scalar)
  return step.lower(state, frozen, batch, schedule).compile()


def float32_shapes(text: str) -> set[tuple[int, ...]]:
  """Shapes of all float32 arrays that a compiled program names."""
  found = re.findall(r"f32\[([\d,]+)\]", text)
  return {tuple(map(int, shape.split(","))) for shape in found}


def test_logits_of_all_positions_never_exist():
  whole, chunked = (float32_shapes(compiled(c).as_text()) for c in (0, 8))
  logits = B * (T - 1) * V
  assert max(map(math.prod, whole)) >= logits
  assert max(map(math.prod, chunked)) < logits
  of_vocabulary = [math.prod(s) for s in chunked if V in s]
  assert max(of_vocabulary) == logits // 4  # 8 of 32 positions


@pytest.mark.slow
def test_remat_keeps_less():
  kept = {
    remat: compiled(8, remat).memory_analysis().temp_size_in_bytes
    for remat in ("none", "dots", "full")
  }
  assert kept["full"] < kept["dots"] < kept["none"], kept


def dot_shapes(text: str) -> set[tuple[int, ...]]:
  """Sorted result shapes of the matmuls of a compiled program."""
  found = re.findall(r"= \w+\[([\d,]+)\]\S* dot\(", text)
  return {tuple(sorted(map(int, shape.split(",")))) for shape in found}


def test_frozen_weights_get_no_gradient():
  made = dot_shapes(compiled(8).as_text())
  assert (16, 40) not in made  # the decoder's MLP
  assert (16, V) not in made  # its output matrix
  assert (16, 64) in made  # the encoder's MLP is trained


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_a_base_of_integers_is_restored_a_layer_at_a_time(dtype):
  stack = (3, 16, 40)  # the decoder's MLP
  assert stack in float32_shapes(compiled(8, "none").as_text())
  assert stack not in float32_shapes(compiled(8, "none", dtype).as_text())


def test_a_trace_can_tell_the_parts_apart():
  """The names go to the profiler with each operation."""
  names = re.findall(r'op_name="([^"]*)"', compiled(8).as_text())
  for part in ("encoder", "projector", "decoder", "loss"):
    # Forward and backward.
    assert any(f"jvp({part})" in name for name in names), part
    assert any(f"transpose(jvp({part}))" in name for name in names), part
  assert any("/update/" in name for name in names)


def test_the_new_state_takes_the_memory_of_the_old():
  """Every buffer of the state is donated, and used again."""
  trainable, _ = split_params(
    abstract_params(config(), make_mesh({}, jax.devices()[:1])), TRAINABLE
  )
  num = sum(x.size for x in jax.tree.leaves(trainable))
  # float32 parameters and two moments; the counts of the step and of Adam, a
  # key of two words, and what the guard remembers.
  state = 3 * 4 * num + 2 * 4 + 2 * 4 + 2 * 4
  assert compiled(8).memory_analysis().alias_size_in_bytes == state


def test_optimiser_state_is_two_float32_of_the_trainable_part():
  cfg = LtuConfig()  # LTU-7B, by shapes alone
  mesh = make_mesh({"fsdp": 8})
  trainable, _ = split_params(abstract_params(cfg, mesh), TRAINABLE)
  num = sum(x.size for x in jax.tree.leaves(trainable))
  opt = abstract_state(trainable, mesh)["opt"]
  held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(opt))
  assert held == 2 * 4 * num + 4  # and the count of steps
