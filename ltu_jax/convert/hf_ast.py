"""Hugging Face's Audio Spectrogram Transformer as the ear.

ASTModel is the same network as ours but for four things, which the import
makes up for, so that our encoder computes its `last_hidden_state[:, 2:]`:
- q, k and v are three linear layers: they are put together.
- A class and a distillation token go before the patches: `prefix_tokens`.
- There is no modality vector: zeros.
- Its input is normalised as (x - mean) / (2 std) with numbers of its own: the
  difference goes into the patch embedding.

ASTFeatureExtractor (transformers 5.23) computes the same log-mel energies as
LTU. It pads a short clip with rows of zeros before it normalises, as LTU does,
so padding needs no care: padded cells go through the same line as the others.
For a clip shorter than one window of 25 ms it has no features, LTU a constant.
"""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ltu_jax.audio.fbank import NORM_MEAN, NORM_STD, NUM_FRAMES
from ltu_jax.convert.files import open_weights
from ltu_jax.convert.hf_ast_config import (
  NUM_TOKENS,
  PATCH,
  encoder_config,
  normalisation,
  read_configs,
)
from ltu_jax.convert.names import ENCODER, name_map
from ltu_jax.convert.tensors import (
  ConversionError,
  Source,
  Tensor,
  of_array,
  problem_table,
)
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.ltu import LtuConfig

_HEAD = "classifier."

# To the names in files; a state dict of transformers 5 has other ones.
_RENAMED = (
  (r"^audio_spectrogram_transformer\.", ""),
  (r"^layers\.", "encoder.layer."),
  (r"\.attention\.q_proj\.", ".attention.attention.query."),
  (r"\.attention\.k_proj\.", ".attention.attention.key."),
  (r"\.attention\.v_proj\.", ".attention.attention.value."),
  (r"\.attention\.o_proj\.", ".attention.output.dense."),
  (r"\.mlp\.fc1\.", ".intermediate.dense."),
  (r"\.mlp\.fc2\.", ".output.dense."),
)

_QKV = tuple(f"attention.attention.{x}" for x in ("query", "key", "value"))

# Ours, below encoder/blocks -> theirs, below encoder.layer.N.
_LAYER = {
  "norm1/scale": "layernorm_before.weight",
  "norm1/bias": "layernorm_before.bias",
  "proj/w": "attention.output.dense.weight",
  "proj/b": "attention.output.dense.bias",
  "norm2/scale": "layernorm_after.weight",
  "norm2/bias": "layernorm_after.bias",
  "fc1/w": "intermediate.dense.weight",
  "fc1/b": "intermediate.dense.bias",
  "fc2/w": "output.dense.weight",
  "fc2/b": "output.dense.bias",
}


def read_hf_ast(folder: str | os.PathLike) -> Source:
  """Opens a folder of ASTModel or ASTForAudioClassification; see `from_names`.

  Args:
    folder: Has config.json, the weights and mostly preprocessor_config.json,
      without which the normalisation is the feature extractor's default.

  Returns:
    A source of the part "encoder".

  Raises:
    ConversionError: Files missing or not to be read, or see `from_names`.
  """
  folder = pathlib.Path(folder)
  config, preprocessor = read_configs(folder)
  # Another geometry is to be said first, whatever is wrong with the weights.
  encoder_config(config, preprocessor, str(folder))
  tensors = open_weights(folder)
  return from_names(tensors, config, preprocessor, str(folder))


def from_names(
  tensors: Mapping[str, Tensor],
  config: Mapping[str, Any],
  preprocessor: Mapping[str, Any],
  origin: str = "AST",
) -> Source:
  """Turns the weights of an AST into canonical tensors, read when asked for.

  Args:
    tensors: Name -> tensor, as in the files of ASTModel or of
      ASTForAudioClassification, whose head is dropped, or as in their state
      dicts.
    config: What config.json says.
    preprocessor: What preprocessor_config.json says; {} if there is none.
    origin: The folder, for messages.

  Returns:
    A source of the part "encoder". Patch embedding and prefix tokens are
    float32, computed here; the others have the file's dtypes.

  Raises:
    ConversionError: See `encoder_config`; or tensors missing, unexpected or
      mis-shaped; lists all.
  """
  cfg = encoder_config(config, preprocessor, origin)
  found, head, rows = {}, [], []
  for name, tensor in tensors.items():
    short = name
    for pattern, new in _RENAMED:
      short = re.sub(pattern, new, short)
    if short.startswith(_HEAD):
      head.append(name)
    elif short in found:
      rows.append(("twice", name, f"also as {found[short].origin}"))
    else:
      found[short] = tensor
  shapes = _shapes(cfg)
  for name in found.keys() | shapes.keys():
    if name not in found:
      rows.append(("missing", name, f"{shapes[name]}"))
    elif name not in shapes:
      rows.append(("unexpected", name, f"{found[name].shape}"))
    elif found[name].shape != shapes[name]:
      detail = f"{found[name].shape}, not {shapes[name]}"
      rows.append(("mis-shaped", name, detail))
  if rows:
    raise ConversionError(
      f"{origin}: the weights are not those of its config.json:\n"
      + problem_table(rows)
    )
  mean, scale = normalisation(preprocessor)
  kept = _ends(found, cfg, mean, scale) | _layers(found, cfg)
  notes = _notes(cfg, head, mean, scale, bool(preprocessor))
  return Source(kept, {"encoder": cfg}, notes=notes)


def _shapes(cfg: EncoderConfig) -> dict[str, tuple[int, ...]]:
  """Name -> shape of all that an ASTModel of these sizes has."""
  dim, hidden = cfg.dim, cfg.dim * cfg.mlp_ratio
  patches = cfg.grid[0] * cfg.grid[1]
  shapes: dict[str, tuple[int, ...]] = {
    "embeddings.cls_token": (1, 1, dim),
    "embeddings.distillation_token": (1, 1, dim),
    "embeddings.position_embeddings": (1, NUM_TOKENS + patches, dim),
  }
  layers = {"embeddings.patch_embeddings.projection": (dim, 1, PATCH, PATCH)}
  layers["layernorm"] = (dim,)
  for i in range(cfg.depth):
    prefix = f"encoder.layer.{i}"
    for name in _QKV:
      layers[f"{prefix}.{name}"] = (dim, dim)
    layers[f"{prefix}.attention.output.dense"] = (dim, dim)
    layers[f"{prefix}.intermediate.dense"] = (hidden, dim)
    layers[f"{prefix}.output.dense"] = (dim, hidden)
    layers[f"{prefix}.layernorm_before"] = (dim,)
    layers[f"{prefix}.layernorm_after"] = (dim,)
  for name, shape in layers.items():
    shapes[f"{name}.weight"] = shape
    shapes[f"{name}.bias"] = shape[:1]
  return shapes


def _ends(
  found: Mapping[str, Tensor], cfg: EncoderConfig, mean: float, scale: float
) -> dict[str, Tensor]:
  """What is before and after the blocks, under canonical names.

  LTU's features are y = (x - NORM_MEAN) / NORM_STD, those of this AST z =
  (x - mean) / scale = a y + b. So a convolution of z with w is one of y with
  a w, plus b times the sum of w.
  """
  weight = found["embeddings.patch_embeddings.projection.weight"]
  bias = found["embeddings.patch_embeddings.projection.bias"]
  cls = found["embeddings.cls_token"]
  distillation = found["embeddings.distillation_token"]
  positions = found["embeddings.position_embeddings"]
  a, b = NORM_STD / scale, (NORM_MEAN - mean) / scale

  def folded_weight() -> np.ndarray:
    return (a * weight.read().astype(np.float64)).astype(np.float32)

  def folded_bias() -> np.ndarray:
    moved = b * weight.read().astype(np.float64).sum((1, 2, 3))
    return (bias.read().astype(np.float64) + moved).astype(np.float32)

  def prefix() -> np.ndarray:
    parts = (cls.read(), distillation.read())
    tokens = np.concatenate([x.astype(np.float32) for x in parts], axis=1)
    return tokens + positions.read()[:, :NUM_TOKENS].astype(np.float32)

  def computed(like: Tensor, shape: tuple[int, ...], read) -> Tensor:
    return Tensor(shape, np.dtype(np.float32), read, like.origin)

  patches = cfg.grid[0] * cfg.grid[1]
  return {
    f"{ENCODER}.patch_embed_a.proj.weight": computed(
      weight, weight.shape, folded_weight
    ),
    f"{ENCODER}.patch_embed_a.proj.bias": computed(
      bias, bias.shape, folded_bias
    ),
    f"{ENCODER}.prefix_tokens": computed(cls, (1, NUM_TOKENS, cfg.dim), prefix),
    f"{ENCODER}.pos_embed_a": Tensor(
      (1, patches, cfg.dim),
      positions.dtype,
      lambda: positions.read()[:, NUM_TOKENS:],
      positions.origin,
    ),
    f"{ENCODER}.modality_a": of_array(np.zeros((1, 1, cfg.dim), np.float32)),
    f"{ENCODER}.norm_a.weight": found["layernorm.weight"],
    f"{ENCODER}.norm_a.bias": found["layernorm.bias"],
  }


def _layers(
  found: Mapping[str, Tensor], cfg: EncoderConfig
) -> dict[str, Tensor]:
  """The blocks under canonical names."""
  names = name_map(LtuConfig(encoder=cfg))
  kept = {}
  for i in range(cfg.depth):
    prefix = f"encoder.layer.{i}"
    for leaf, theirs in (("w", "weight"), ("b", "bias")):
      parts = [found[f"{prefix}.{name}.{theirs}"] for name in _QKV]
      kept[names[f"encoder/blocks/qkv/{leaf}"][i]] = _joined(parts)
    for ours, theirs in _LAYER.items():
      tensor = found[f"{prefix}.{theirs}"]
      kept[names[f"encoder/blocks/{ours}"][i]] = tensor
  return kept


def _joined(parts: list[Tensor]) -> Tensor:
  """Tensors of one shape, one behind the other along the first axis."""
  dtypes = {part.dtype for part in parts}
  dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)
  shape = (len(parts) * parts[0].shape[0], *parts[0].shape[1:])

  def read() -> np.ndarray:
    return np.concatenate([part.read().astype(dtype) for part in parts])

  return Tensor(shape, dtype, read, ", ".join(part.origin for part in parts))


def _notes(
  cfg: EncoderConfig,
  head: list[str],
  mean: float,
  scale: float,
  has_preprocessor: bool,
) -> tuple[str, ...]:
  """What the user should know."""
  where = "preprocessor_config.json"
  if not has_preprocessor:
    where = f"the defaults, as there is no {where}"
  notes = [
    f"its input is normalised by mean {mean:g} and divisor {scale:g} "
    f"({where}), LTU's by {NORM_MEAN:g} and {NORM_STD:g}: the difference is in "
    "the patch embedding",
    f"the class and the distillation token are the encoder's {NUM_TOKENS} "
    "prefix tokens; the published LTU code has none",
    f"layer norms have the epsilon {cfg.norm_eps:g}; the published LTU code "
    f"has {EncoderConfig().norm_eps:g}",
  ]
  if head:
    notes.append(
      f"dropped {len(head)} tensors of the classification head: "
      + ", ".join(sorted(head))
    )
  if cfg.num_frames != NUM_FRAMES:
    notes.append(
      f"the position table is for clips of {cfg.num_frames} frames, not of "
      f"LTU's {NUM_FRAMES}"
    )
  return tuple(notes)
