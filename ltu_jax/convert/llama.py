"""Hugging Face's LLaMA folders: config.json, weights, tokenizer.

The weights' names and layouts are the canonical ones already. What LLaMA's
config can say and our decoder cannot compute is refused, not ignored.
"""

import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from ltu_jax.convert.files import open_weights, read_json
from ltu_jax.convert.names import is_carried
from ltu_jax.convert.tensors import (
  ConversionError,
  Source,
  Tensor,
  problem_table,
)
from ltu_jax.data.tokenizer import load_tokenizer
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.tree_names import array_hash

_EMBEDDING, _OUTPUT = "model.embed_tokens.weight", "lm_head.weight"

# Ours -> theirs; without these there is no saying what the model is.
_SIZES = {
  "vocab": "vocab_size",
  "dim": "hidden_size",
  "mlp_dim": "intermediate_size",
  "layers": "num_hidden_layers",
  "heads": "num_attention_heads",
}

# What transformers 5.23 assumes where its config.json does not say.
_ROPE_BASE, _NORM_EPS = 10000.0, 1e-6

# Key -> the values that mean what our decoder computes.
_FIXED = {
  "model_type": ("llama",),
  "hidden_act": (None, "silu"),
  "attention_bias": (None, False),
  "mlp_bias": (None, False),
  "partial_rotary_factor": (None, 1),
  "quantization_config": (None,),
}

_Rows = list[tuple[str, str, str]]


def read_llama(folder: str | os.PathLike) -> Source:
  """Opens a LLaMA or Vicuna folder, safetensors or `.bin`, whole or sharded.

  Args:
    folder: has config.json and the weights (see `files.open_weights`), and
      mostly tokenizer.model or tokenizer.json.

  Returns:
    The decoder's part; rotary frequencies are carried. A tied model's output
    matrix is dropped where it is the embedding.

  Raises:
    ConversionError: files that are missing or damaged, a config of another
      model, all that is in the way; an output matrix that is not the embedding
      although the config ties them.
    TokenizerError: a tokenizer that cannot be read.
  """
  folder = pathlib.Path(folder)
  cfg = llama_config(
    read_json(folder / "config.json"), str(folder / "config.json")
  )
  tensors = open_weights(folder)
  carried = {k: tensors.pop(k) for k in list(tensors) if is_carried(k)}
  notes = ()
  if cfg.tied and {_EMBEDDING, _OUTPUT} <= set(tensors):
    embedding, output = tensors[_EMBEDDING], tensors[_OUTPUT]
    if not _equal(embedding, output):
      raise ConversionError(
        f"{output.origin} is not {_EMBEDDING}, though config.json ties them. "
        'Say "tie_word_embeddings": false there to keep both.'
      )
    del tensors[_OUTPUT]
    notes = (f"dropped {output.origin}: it is the embedding",)
  return Source(tensors, {"llama": cfg}, carried, load_tokenizer(folder), notes)


def _equal(a: Tensor, b: Tensor) -> bool:
  """Whether two tensors are the same, with one in memory at a time."""
  if (a.shape, a.dtype) != (b.shape, b.dtype):
    return False
  return array_hash("", a.read()) == array_hash("", b.read())


def llama_config(config: Mapping[str, Any], where: str) -> LlamaConfig:
  """Sizes of our decoder from a config.json of transformers, old or new.

  Args:
    config: what config.json holds.
    where: its path, for messages.

  Returns:
    The sizes; dtypes and remat are our defaults.

  Raises:
    ConversionError: all that our decoder does not compute, and what is missing.
  """
  rows: _Rows = []
  for key, known in _FIXED.items():
    if config.get(key) not in known:
      detail = f"{config.get(key)!r}: only {known[-1]!r} can be read"
      rows.append(("unsupported", key, detail))
  found = {
    ours: _number(config, theirs, rows, whole=True)
    for ours, theirs in _SIZES.items()
  }
  tied = config.get("tie_word_embeddings") or False
  if not isinstance(tied, bool):
    rows.append(("no truth value", "tie_word_embeddings", repr(tied)))
  found |= {
    "kv_heads": _number(
      config, "num_key_value_heads", rows, whole=True, default=found["heads"]
    ),
    "head_dim": _number(config, "head_dim", rows, whole=True, default=0),
    "rope_base": _rope_base(config, rows),
    "norm_eps": _number(config, "rms_norm_eps", rows, default=_NORM_EPS),
    "tied": tied,
  }
  if rows:
    raise ConversionError(f"{where}: cannot be read\n{problem_table(rows)}")
  try:
    return LlamaConfig(**found)
  except ValueError as e:
    raise ConversionError(f"{where}: {e}") from e


def _number(
  config: Mapping[str, Any],
  key: str,
  rows: _Rows,
  *,
  whole: bool = False,
  default: float | None = None,
) -> float | None:
  """A positive number of a config; what is wrong goes to `rows`."""
  value = config.get(key)
  if value is None:
    if default is None:
      rows.append(("missing", key, ""))
    return default
  kinds = int if whole else (int, float)
  numeric = isinstance(value, kinds) and not isinstance(value, bool)
  if not (numeric and 0 < value <= sys.float_info.max):
    rows.append(("no positive number", key, repr(value)))
    return default
  return value if whole else float(value)


def _rope_base(config: Mapping[str, Any], rows: _Rows) -> float:
  """The base of the rotary frequencies, from where it was and is written."""
  bases = {}
  places = {"": config}
  for key in ("rope_parameters", "rope_scaling"):
    value = config.get(key)
    if value is None:
      continue
    if not isinstance(value, Mapping):
      rows.append(("unsupported", key, repr(value)))
      continue
    kind = value.get("rope_type", value.get("type", "default"))
    nested = any(isinstance(v, Mapping) for v in value.values())
    if kind != "default" or nested:
      rows.append(("unsupported", key, f"{kind!r}: only 'default' can be read"))
    if value.get("partial_rotary_factor") not in (None, 1):
      rows.append(("unsupported", key, "partial_rotary_factor"))
    places[f"{key}."] = value
  for prefix, place in places.items():
    if place.get("rope_theta") is not None:
      bases[f"{prefix}rope_theta"] = _number(
        place, "rope_theta", rows, default=_ROPE_BASE
      )
  if len(set(bases.values())) > 1:
    detail = ", ".join(f"{k} {v}" for k, v in bases.items())
    rows.append(("contradiction", "rope_theta", detail))
  return next(iter(bases.values()), _ROPE_BASE)


def llama_config_json(
  cfg: LlamaConfig,
  *,
  bos: int | None,
  eos: int | None,
  pad: int | None,
) -> dict[str, Any]:
  """The config.json of a decoder, for transformers 5.23 and older ones.

  Args:
    cfg: the decoder. `param_dtype` is said to be the weights' dtype.
    bos: id of the token that begins a text, None for none.
    eos: id of the token that ends one.
    pad: id of the padding.

  Returns:
    JSON values. "max_position_embeddings" is LLaMA's 2048 (Touvron et al.,
    2023): our decoder has no such limit.

  Raises:
    ConversionError: heads that transformers does not allow.
  """
  if cfg.dim % cfg.heads:
    raise ConversionError(
      f"llama: {cfg.dim=} is no multiple of {cfg.heads=}, which transformers "
      "does not allow"
    )
  return {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    **{theirs: getattr(cfg, ours) for ours, theirs in _SIZES.items()},
    "num_key_value_heads": cfg.kv_heads,
    "head_dim": cfg.head_dim,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "max_position_embeddings": 2048,
    "rms_norm_eps": cfg.norm_eps,
    # Where transformers looked before version 5, and since.
    "rope_theta": cfg.rope_base,
    "rope_scaling": None,
    "rope_parameters": {"rope_type": "default", "rope_theta": cfg.rope_base},
    "tie_word_embeddings": cfg.tied,
    "bos_token_id": bos,
    "eos_token_id": eos,
    "pad_token_id": pad,
    "torch_dtype": cfg.param_dtype,
    "dtype": cfg.param_dtype,
    "use_cache": True,
  }
