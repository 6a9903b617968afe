import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import pytest

from ltu_jax.aot import flops
from ltu_jax.audio.fbank import CLIP_SAMPLES
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.train_state import split_params
from ltu_jax.train_step import gradients

ENCODER = ("^encoder/", "^projector/", "/lora_[ab]$")
PROJECTION = ("^projector/",)
PUBLISHED = ("encoder", "projector", "lora")
"""Parts that stages 2 to 4 train."""
TEXT, ROWS = 25, 2


def small(remat: str = "none") -> LtuConfig:
  """Every size differs from the others, so that none can stand for another."""
  return LtuConfig(
    encoder=EncoderConfig(dim=48, depth=3, heads=4, remat=remat),
    llama=LlamaConfig(
      vocab=304,
      dim=80,
      mlp_dim=176,
      layers=2,
      heads=6,
      kv_heads=2,
      head_dim=16,
      remat=remat,
    ),
    lora=LoraConfig(rank=4),
  )


def products(jaxpr) -> int:
  """FLOPs of all dot_generals, scan bodies as often as they run."""
  total = 0
  for eqn in jaxpr.eqns:
    times = 1
    if eqn.primitive.name == "scan":
      times = eqn.params["length"]
    if eqn.primitive.name == "dot_general":
      (contract, _), _ = eqn.params["dimension_numbers"]
      shape = eqn.invars[0].aval.shape
      inner = math.prod(shape[axis] for axis in contract)
      total += 2 * inner * math.prod(eqn.outvars[0].aval.shape)
    for inside in jax.tree.leaves(
      list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
    ):
      inside = getattr(inside, "jaxpr", inside)
      if hasattr(inside, "eqns"):
        total += times * products(inside)
  return total


def step(cfg: LtuConfig, trainable, audio=True, chunk=0):
  """Gradients as a function, and shapes to trace it with."""
  graphdef, params = abstract(cfg)
  parts = split_params(params, trainable)
  of = lambda dtype, *rest: jax.ShapeDtypeStruct((1, ROWS, *rest), dtype)
  batch = {
    "pcm": of(jnp.int16, CLIP_SAMPLES),
    "num_samples": of(jnp.int32),
    "tokens": of(jnp.int32, TEXT),
    "positions": of(jnp.int32, TEXT),
    "segment_ids": of(jnp.int32, TEXT),
    "loss_weights": of(jnp.float32, TEXT),
  }
  if not audio:
    del batch["pcm"]
  call = functools.partial(gradients, graphdef, key=None, loss_chunk=chunk)
  return call, (*parts, batch)


@pytest.mark.parametrize(
  "trainable, chunk", [(ENCODER, 0), (PROJECTION, 0), (ENCODER, 8)]
)
@pytest.mark.parametrize("remat", ["none", "full"])
def test_formula_is_the_sum_over_the_traced_products(trainable, chunk, remat):
  cfg = small(remat)
  call, shapes = step(cfg, trainable, chunk=chunk)
  traced = jax.make_jaxpr(call)(*shapes)
  trained = PUBLISHED if trainable is ENCODER else ("projector",)
  want = flops.train_row(cfg, TEXT, trained, loss_chunk=chunk)
  assert products(traced.jaxpr) == ROWS * want.executed


@pytest.mark.parametrize(
  "trainable, trained, audio",
  [
    # A stage that makes a decoder of text alone, and others of one's own.
    (("^llama/(?!.*lora)",), ("llama",), False),
    (("lora_",), ("lora",), True),
    (("",), ("encoder", "projector", "llama", "lora"), True),
  ],
)
def test_other_stages_are_the_sum_over_the_traced_products(
  trainable, trained, audio
):
  cfg = small("full")
  call, shapes = step(cfg, trainable, audio)
  traced = jax.make_jaxpr(call)(*shapes)
  want = flops.train_row(cfg, TEXT, trained, audio=audio)
  assert products(traced.jaxpr) == ROWS * want.executed


def test_hand_count():
  """One layer of everything, counted term by term."""
  cfg = LtuConfig(
    encoder=EncoderConfig(dim=8, depth=1, heads=1, remat="none"),
    llama=LlamaConfig(
      vocab=10, dim=4, mlp_dim=6, layers=1, heads=2, kv_heads=1, remat="none"
    ),
    lora=LoraConfig(rank=1),
  )
  # 32 audio + 3 text tokens; q is 4 x 4, k and v 4 x 2, o 4 x 4.
  dense = 2 * 35 * (16 + 8 + 8 + 16 + 3 * 24)
  attention = 2 * 2 * 35 * 35 * 4
  adapters = 2 * 35 * ((4 + 4) + (4 + 2))
  logits = 2 * 2 * 4 * 10
  patch = 2 * 512 * 256 * 8
  block = 2 * 512 * (3 * 64 + 64 + 2 * 256) + 2 * 2 * 512 * 512 * 8
  bridge = 2 * 32 * 8 * 4
  found = flops.train_row(cfg, 3, PUBLISHED, pcm=False)
  assert found.forward == (
    dense + attention + adapters + logits + patch + block + bridge
  )
  assert found.backward == (
    dense + 2 * (attention + adapters + block + bridge) + logits + patch
  )
  assert found.recomputed == 0


def test_against_the_compilers_count_without_loops():
  """One layer each: XLA counts a scan's body once, and there it runs once."""
  cfg = small()
  cfg = LtuConfig(
    encoder=dataclasses.replace(cfg.encoder, depth=1),
    llama=dataclasses.replace(cfg.llama, layers=1, dim=160, mlp_dim=352),
    lora=cfg.lora,
  )
  call, (trainable, frozen, batch) = step(cfg, ENCODER)
  of = lambda dtype, *rest: jax.ShapeDtypeStruct((1, ROWS, *rest), dtype)
  batch = {k: v for k, v in batch.items() if k not in ("pcm", "num_samples")}
  batch |= {"fbank": of(jnp.float32, 1024, 128), "has_audio": of(bool)}
  compiled = jax.jit(call).lower(trainable, frozen, batch).compile()
  want = ROWS * flops.train_row(cfg, TEXT, PUBLISHED, pcm=False).model
  # XLA also counts softmax, norms and GELU, one FLOP a number: at these widths
  # a tenth of the products.
  assert 1.0 <= compiled.cost_analysis()["flops"] / want < 1.3


def test_seven_billion_parameters_cost_two_flops_a_token():
  """Of 6.7 G parameters all but the embedding are multiplied with."""
  cfg = LtuConfig()
  got = flops.train_row(cfg, 108, PUBLISHED)
  weights = 6_738_415_616 - 32000 * 4096
  # 32 tokens have no logits, against attention, adapters and the encoder (0.11
  # of 1.85 TFLOP).
  assert got.forward == pytest.approx(2 * 140 * weights, rel=0.08)
