"""Which values a field of the config may have, one by one."""

import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax.numpy as jnp

from ltu_jax import profiling
from ltu_jax.models import quantized, remat, sizes
from ltu_jax.supply import SOURCES
from ltu_jax.train_step import LOSS_NORMS

Rule = tuple[Callable[[Any], bool], str]
"""Whether a value of the right type can be used, and in words when it can."""


def _from(least: int) -> Rule:
  return lambda x: x >= least, f">= {least}"


def _between(least: float, most: float) -> Rule:
  return lambda x: least <= x <= most, f"in {least}..{most}"


def _one_of(names: Collection[str]) -> Rule:
  shown = ", ".join(name or "''" for name in names)
  return lambda x: x in names, f"one of {shown}"


def _is_floating(name: str) -> bool:
  """Whether a name is that of a floating dtype."""
  if not name.isidentifier():  # numpy reads whole structures out of a text
    return False
  try:
    return jnp.issubdtype(jnp.dtype(name), jnp.floating)
  except TypeError:
    return False


def _is_span(text: str) -> bool:
  """Whether a text says which steps are traced."""
  try:
    profiling.parse(text)
  except ValueError:
    return False
  return True


_SIZE = _between(1, sizes.MOST)
_LAYERS = _between(1, sizes.MOST_LAYERS)
_SHARE = _between(0, 1)
_POSITIVE: Rule = lambda x: x > 0, "> 0"
# Not NaN or infinity.
_FINITE: Rule = (
  lambda x: abs(x) <= sys.float_info.max,
  "a finite number",
)
_NOT_NEGATIVE: Rule = (
  lambda x: 0 <= x <= sys.float_info.max,
  "a finite number >= 0",
)
_AXIS: Rule = lambda x: x == -1 or x >= 1, ">= 1, or -1 for what is left"
_DTYPE: Rule = _is_floating, "a floating dtype, such as float32 or bfloat16"
_REMAT = _one_of(remat.POLICIES)
# Steps are counted in 32 bits; keys are made of 32.
_STEPS = _between(0, 2**31 - 1)
_SEED = _between(0, 2**32 - 1)
# One token of a question and one of its answer.
_TOKENS = _from(2)

RULES: Mapping[str, Rule] = {
  "seed": _SEED,
  "mesh.data": _AXIS,
  "mesh.fsdp": _AXIS,
  "mesh.tensor": _AXIS,
  "model.encoder.dim": _SIZE,
  "model.encoder.depth": _LAYERS,
  "model.encoder.heads": _SIZE,
  "model.encoder.mlp_ratio": _SIZE,
  "model.encoder.patch_mels": _SIZE,
  "model.encoder.patch_frames": _SIZE,
  "model.encoder.num_frames": _SIZE,
  "model.encoder.num_mels": _SIZE,
  "model.encoder.norm_eps": _NOT_NEGATIVE,
  "model.encoder.prefix_tokens": _between(0, sizes.MOST),
  "model.encoder.remat": _REMAT,
  "model.encoder.dtype": _DTYPE,
  "model.projector.time_pool": _SIZE,
  "model.projector.scale": _POSITIVE,
  "model.projector.norm_eps": _NOT_NEGATIVE,
  "model.llama.vocab": _SIZE,
  "model.llama.dim": _SIZE,
  "model.llama.mlp_dim": _SIZE,
  "model.llama.layers": _LAYERS,
  "model.llama.heads": _SIZE,
  "model.llama.kv_heads": _SIZE,
  "model.llama.head_dim": _between(0, sizes.MOST),
  "model.llama.rope_base": _POSITIVE,
  "model.llama.norm_eps": _NOT_NEGATIVE,
  "model.llama.remat": _REMAT,
  "model.llama.dtype": _DTYPE,
  "model.llama.param_dtype": _DTYPE,
  "model.llama.base_dtype": _one_of(("", *quantized.GROUPS)),
  "model.lora.rank": _between(0, sizes.MOST),
  "model.lora.alpha": _FINITE,
  "model.lora.dropout": (lambda x: 0 <= x < 1, ">= 0 and < 1"),
  "tokenizer.vocab_size": _SIZE,
  "data.source": _one_of(SOURCES),
  "data.num_train": _from(0),
  "data.num_test": _from(0),
  "data.batch_size": _from(1),
  "data.micro_batches": _from(1),
  "data.max_tokens": _TOKENS,
  "data.questions_per_row": _from(1),
  "data.row_tokens": _from(0),
  "data.length_buckets": (
    lambda x: all(0 < a < b for a, b in zip((1, *x), x, strict=False)),
    "whole numbers >= 2, each greater than the one before",
  ),
  "data.drop_audio": _SHARE,
  "data.max_unreadable": _SHARE,
  "data.num_threads": _from(1),
  "data.stall_seconds": _POSITIVE,
  "data.give_up_seconds": _POSITIVE,
  "augment.filter_db": _NOT_NEGATIVE,
  "augment.mel_shift": _from(0),
  "optimizer.max_grad_norm": _POSITIVE,
  "optimizer.loss_norm": _one_of(LOSS_NORMS),
  "optimizer.loss_chunk": _from(0),
  "stages.*.number": _STEPS,
  "stages.*.peak_lr": _NOT_NEGATIVE,
  "stages.*.epochs": _between(0, sizes.MOST),
  "stages.*.steps": _STEPS,
  "stages.*.warmup_steps": _STEPS,
  "stages.*.handoff_step": _STEPS,
  "stages.*.max_tokens": (
    lambda x: x == 0 or _TOKENS[0](x),
    f"{_TOKENS[1]}, or 0 for config.data.max_tokens",
  ),
  "log_every": _from(1),
  "checkpoint_every": _from(1),
  "keep_checkpoints": _from(1),
  "keep_every": _from(0),
  "keep_best": _from(0),
  "keep_best_metric": _one_of(("loss", "grad_norm")),
  # A loss is above its mean every other time.
  "guard.spike_factor": (lambda x: x == 0 or x > 1, "> 1, or 0 for no check"),
  "guard.spike_after": _STEPS,
  "guard.max_in_row": _STEPS,
  "profile.steps": (
    _is_span,
    "FIRST:LAST, two step numbers from 1 on, such as 10:15, or ''",
  ),
  "profile.stage": _between(-1, 2**31 - 1),
  "eval.stage_items": _from(0),
  "eval.final_items": _from(0),
  "eval.batch_size": _from(1),
  "eval.max_new_tokens": _from(1),
  "eval.sets_every": _STEPS,
  "eval.sets_items": _from(1),
}
"""Path of a field -> its rule; "*" is any stage. Others take any value."""
