"""Our parameters and the published code's: names and layouts, both ways.

A canonical name is one of the published state dict without PEFT's prefix, such
as `model.layers.0.self_attn.q_proj.weight`. PyTorch keeps linear weights
[out, in]; ours are [in, *out]. The patch convolution [E, 1, mels, frames] is a
matrix [mels * frames, E] here. Stacked layers are taken apart.

The published model carries six LayerNorms per encoder block and uses two: norm1
and norm2 in `blocks_a`, norm1_a and norm2_a in `blocks_u`.
"""

import dataclasses
import math
import re
from collections.abc import Collection, Iterator

import numpy as np

from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import STACKS, LtuConfig, part_of

PREFIX = "base_model.model."
"""What PEFT puts before every name."""

ENCODER = "model.audio_encoder"
PROJECTOR = "model.audio_proj.1"

_CARRIED = re.compile(
  r"audio_encoder\.(blocks_a\.\d+\.norm[12]_[av]"
  r"|blocks_u\.\d+\.norm[12](_v)?)\.(weight|bias)$|rotary_emb\.inv_freq$"
)


def part_of_name(name: str) -> str:
  """Which part of the model a canonical name belongs to."""
  if ".lora_" in name:
    return "lora"
  if name.startswith(ENCODER):
    return "encoder"
  return "projector" if name.startswith("model.audio_proj") else "llama"


def is_carried(name: str) -> bool:
  """Whether a canonical name is of a tensor that changes no output."""
  return bool(_CARRIED.search(name))


def name_map(cfg: LtuConfig) -> dict[str, str | list[str]]:
  """Our parameter path -> canonical name, or one name for each layer.

  Paths are joined by "/". A stacked parameter maps to the list of its layers'
  names, in order.
  """
  names: dict[str, str | list[str]] = {
    "encoder/modality": f"{ENCODER}.modality_a",
    "encoder/pos_embed": f"{ENCODER}.pos_embed_a",
    "encoder/patch_embed/w": f"{ENCODER}.patch_embed_a.proj.weight",
    "encoder/patch_embed/b": f"{ENCODER}.patch_embed_a.proj.bias",
    "encoder/norm/scale": f"{ENCODER}.norm_a.weight",
    "encoder/norm/bias": f"{ENCODER}.norm_a.bias",
    "projector/w": f"{PROJECTOR}.weight",
    "projector/b": f"{PROJECTOR}.bias",
    "llama/embedding": "model.embed_tokens.weight",
    "llama/norm/scale": "model.norm.weight",
  }
  if cfg.encoder.prefix_tokens:  # ours; the published code has none
    names["encoder/prefix"] = f"{ENCODER}.prefix_tokens"
  if not cfg.llama.tied:
    names["llama/lm_head"] = "lm_head.weight"
  depth = cfg.encoder.depth
  for i in range(depth):
    for ours, theirs in _encoder_block(i, depth):
      names.setdefault(f"encoder/blocks/{ours}", []).append(theirs)
  for i in range(cfg.llama.layers):
    for ours, theirs in _decoder_layer(i, cfg):
      names.setdefault(f"llama/layers/{ours}", []).append(theirs)
  return names


def _encoder_block(index: int, depth: int) -> Iterator[tuple[str, str]]:
  """(our path below encoder/blocks, canonical name) of one block."""
  if index < depth - 1:
    prefix, norm1, norm2 = f"{ENCODER}.blocks_a.{index}", "norm1", "norm2"
  else:
    prefix, norm1, norm2 = f"{ENCODER}.blocks_u.0", "norm1_a", "norm2_a"
  for ours, theirs in (
    ("norm1", norm1),
    ("norm2", norm2),
    ("qkv", "attn.qkv"),
    ("proj", "attn.proj"),
    ("fc1", "mlp.fc1"),
    ("fc2", "mlp.fc2"),
  ):
    weight, bias = ("scale", "bias") if "norm" in ours else ("w", "b")
    yield f"{ours}/{weight}", f"{prefix}.{theirs}.weight"
    yield f"{ours}/{bias}", f"{prefix}.{theirs}.bias"


def _decoder_layer(index: int, cfg: LtuConfig) -> Iterator[tuple[str, str]]:
  """(our path below llama/layers, canonical name) of one layer."""
  prefix = f"model.layers.{index}"
  yield "input_norm/scale", f"{prefix}.input_layernorm.weight"
  yield (
    "post_attention_norm/scale",
    f"{prefix}.post_attention_layernorm.weight",
  )
  for part, names in (
    ("self_attn", ("q_proj", "k_proj", "v_proj", "o_proj")),
    ("mlp", ("gate_proj", "up_proj", "down_proj")),
  ):
    for name in names:
      yield f"{name}/w", f"{prefix}.{part}.{name}.weight"
      if cfg.lora.rank and name in cfg.lora.targets:
        for ours, theirs in (("lora_a", "lora_A"), ("lora_b", "lora_B")):
          yield (
            f"{name}/{ours}",
            f"{prefix}.{part}.{name}.{theirs}.default.weight",
          )


def carried_defaults(
  encoder: EncoderConfig, llama: LlamaConfig | None = None
) -> dict[str, np.ndarray]:
  """What the published code expects and ours has no use for, as it starts.

  Args:
    encoder: Gives the unused LayerNorms: ones and zeros, float32.
    llama: Gives each layer's rotary frequencies, float32; None leaves them out.

  Returns:
    Canonical name -> array.
  """
  found = {}
  blocks = [
    (f"{ENCODER}.blocks_a.{i}", ("1_a", "1_v", "2_a", "2_v"))
    for i in range(encoder.depth - 1)
  ] + [(f"{ENCODER}.blocks_u.0", ("1", "1_v", "2", "2_v"))]
  for prefix, norms in blocks:
    for norm in norms:
      name = f"{prefix}.norm{norm}"
      found[f"{name}.weight"] = np.ones(encoder.dim, np.float32)
      found[f"{name}.bias"] = np.zeros(encoder.dim, np.float32)
  if llama is not None:
    half = llama.head_dim // 2
    rate = llama.rope_base ** (-np.arange(half) / half)
    for i in range(llama.layers):
      name = f"model.layers.{i}.self_attn.rotary_emb.inv_freq"
      found[name] = rate.astype(np.float32)
  return found


def _num_in(path: str) -> int:
  """Axes of one of our weights that are contracted."""
  return 2 if path == "encoder/blocks/proj/w" else 1


def _is_matrix(path: str) -> bool:
  """Whether the published layout of a parameter is the transposed one."""
  leaf = path.rsplit("/", 1)[-1]
  return leaf in ("w", "lora_a", "lora_b", "lm_head")


def published_shape(
  path: str, shape: tuple[int, ...], encoder: EncoderConfig
) -> tuple[int, ...]:
  """The published shape of one of our parameters.

  Args:
    path: our path, such as `encoder/blocks/qkv/w`.
    shape: its shape here, of one layer.
    encoder: gives the patch's sides.
  """
  if path == "encoder/patch_embed/w":
    return (shape[1], 1, encoder.patch_mels, encoder.patch_frames)
  if _is_matrix(path):
    num_in = _num_in(path)
    return (math.prod(shape[num_in:]), math.prod(shape[:num_in]))
  if path.startswith("encoder/blocks/"):
    return (math.prod(shape),)  # the query, key and value biases are one
  return tuple(shape)


def to_ours(
  path: str,
  tensor: np.ndarray,
  shape: tuple[int, ...],
  dtype: np.dtype | None = None,
) -> np.ndarray:
  """A tensor of `published_shape` in our layout and shape (of one layer).

  Args:
    path: our path.
    tensor: the tensor.
    shape: our shape, of one layer.
    dtype: what it is cast to; None keeps its own.
  """
  dtype = tensor.dtype if dtype is None else dtype
  if path == "encoder/patch_embed/w":
    tensor = tensor.reshape(tensor.shape[0], -1)
  if _is_matrix(path):
    return transpose(tensor, dtype).reshape(shape)
  return tensor.reshape(shape).astype(dtype, copy=False)


def to_published(
  path: str, array: np.ndarray, encoder: EncoderConfig
) -> np.ndarray:
  """The inverse of `to_ours`: one of our parameters (of one layer)."""
  shape = published_shape(path, array.shape, encoder)
  if not _is_matrix(path):
    return array.reshape(shape)
  rows = math.prod(array.shape[: _num_in(path)])
  return transpose(array.reshape(rows, -1)).reshape(shape)


def transpose(
  matrix: np.ndarray, dtype: np.dtype | None = None, tile: int = 128
) -> np.ndarray:
  """A transposed copy, cast on the way, in tiles that fit the cache."""
  rows, columns = matrix.shape
  out = np.empty((columns, rows), dtype or matrix.dtype)
  for i in range(0, rows, tile):
    for j in range(0, columns, tile):
      out[j : j + tile, i : i + tile] = matrix[i : i + tile, j : j + tile].T
  return out


def expected(
  cfg: LtuConfig, parts: Collection[str]
) -> Iterator[tuple[str, int | None, str]]:
  """What the named parts of a model consist of.

  Args:
    cfg: the model.
    parts: which parts (the fields of LtuConfig).

  Yields:
    (our path, layer or None, canonical name): what is outside the stacks, then
    layer by layer, as the files have them too.
  """
  lora = cfg.lora if "lora" in parts else LoraConfig(rank=0)
  names = name_map(dataclasses.replace(cfg, lora=lora))
  wanted = {k: v for k, v in names.items() if part_of(k) in parts}
  yield from ((k, None, v) for k, v in wanted.items() if isinstance(v, str))
  for stack in STACKS:
    inside = {k: v for k, v in wanted.items() if k.startswith(stack)}
    for layer in range(max(map(len, inside.values()), default=0)):
      yield from ((k, layer, v[layer]) for k, v in inside.items())
