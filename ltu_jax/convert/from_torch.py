"""Weights of the published PyTorch LTU -> ours, name by name.

Reads a mapping of state-dict names to numpy arrays (no torch here) and fills
the parameters of `LTU`. The published model carries six LayerNorms per encoder
block and uses two: norm1 and norm2 in `blocks_a`, norm1_a and norm2_a in
`blocks_u`; the others are accepted and dropped.
"""

import re
from collections.abc import Iterator, Mapping

import numpy as np
from flax import nnx

from ltu_jax.models.ltu import LtuConfig
from ltu_jax.sharding import path_name

PREFIX = "base_model.model."
"""What PEFT puts before every name."""

_UNUSED = re.compile(
  r"audio_encoder\.(blocks_a\.\d+\.norm[12]_[av]"
  r"|blocks_u\.\d+\.norm[12](_v)?)\.(weight|bias)$|rotary_emb\.inv_freq$"
)


class ConversionError(ValueError):
  """Missing, unexpected or mis-shaped tensors; the message lists all."""


def _block_names(index: int, depth: int) -> tuple[str, str, str]:
  """Published prefix of encoder block `index`, and its two live norms."""
  if index < depth - 1:
    return f"model.audio_encoder.blocks_a.{index}", "norm1", "norm2"
  return "model.audio_encoder.blocks_u.0", "norm1_a", "norm2_a"


def _encoder_block(index: int, depth: int) -> Iterator[tuple[str, str]]:
  prefix, norm1, norm2 = _block_names(index, depth)
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


def name_map(cfg: LtuConfig) -> dict[str, str | list[str]]:
  """Our parameter path -> published name, or one name for each layer.

  Names are without PREFIX; paths are joined by "/". A stacked parameter maps to
  the list of its layers' names, in order.
  """
  enc = "model.audio_encoder"
  names: dict[str, str | list[str]] = {
    "encoder/modality": f"{enc}.modality_a",
    "encoder/pos_embed": f"{enc}.pos_embed_a",
    "encoder/patch_embed/w": f"{enc}.patch_embed_a.proj.weight",
    "encoder/patch_embed/b": f"{enc}.patch_embed_a.proj.bias",
    "encoder/norm/scale": f"{enc}.norm_a.weight",
    "encoder/norm/bias": f"{enc}.norm_a.bias",
    "projector/w": "model.audio_proj.1.weight",
    "projector/b": "model.audio_proj.1.bias",
    "llama/embedding": "model.embed_tokens.weight",
    "llama/norm/scale": "model.norm.weight",
  }
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


def to_our_layout(
  path: str, tensor: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
  """One published tensor in the layout of one (unstacked) parameter of ours.

  PyTorch keeps linear weights [out, in]; ours are [in, *out]. The patch
  convolution [E, 1, 16, 16] becomes a matrix [256, E], frequency first.

  Args:
    path: our path, such as `encoder/blocks/qkv/w`.
    tensor: the published tensor.
    shape: the shape ours has.

  Raises:
    ConversionError: the sizes differ.
  """
  leaf = path.rsplit("/", 1)[-1]
  if path.endswith("patch_embed/w"):
    tensor = tensor.reshape(tensor.shape[0], -1)
  if leaf in ("w", "lora_a", "lora_b", "lm_head"):
    if tensor.ndim != 2:
      raise ConversionError(f"shape {tensor.shape} is no matrix")
    tensor = tensor.T
    # Axes may be split into heads, but not across the in / out border.
    if tensor.shape[0] not in np.cumprod(shape):
      raise ConversionError(f"shape {tensor.T.shape} does not fit {shape}")
  if tensor.size != np.prod(shape, dtype=int):
    raise ConversionError(f"shape {tensor.shape} does not fit {shape}")
  return tensor.reshape(shape)


def import_state_dict(
  state: nnx.State, cfg: LtuConfig, tensors: Mapping[str, np.ndarray]
) -> nnx.State:
  """Fills an (abstract) state of LTU with published weights.

  Args:
    state: `nnx.state(model)`, arrays or shapes; gives shapes and dtypes.
    cfg: the model's config.
    tensors: published name (with or without PREFIX) -> array.

  Returns:
    The same state with numpy arrays of our dtypes as values.

  Raises:
    ConversionError: lists every missing, unexpected, mis-shaped tensor.
  """
  given = {name.removeprefix(PREFIX): name for name in tensors}
  names, problems, flat = name_map(cfg), [], []
  for path, variable in nnx.to_flat_state(state):
    ours, value = path_name(path), variable.get_value()
    theirs = names.pop(ours)
    stacked = isinstance(theirs, list)
    shape = value.shape[1:] if stacked else value.shape
    parts = []
    for name in theirs if stacked else [theirs]:
      if name not in given:
        problems.append(f"missing     {name}")
        continue
      try:
        tensor = np.asarray(tensors[given.pop(name)])
        parts.append(to_our_layout(ours, tensor, shape))
      except ConversionError as e:
        problems.append(f"mis-shaped  {name}: {e}")
    if not problems:
      array = np.stack(parts) if stacked else parts[0]
      flat.append((path, variable.replace(array.astype(value.dtype))))
  problems += [f"unexpected  {n}" for n in given if not _UNUSED.search(n)]
  if problems:
    raise ConversionError("cannot import:\n" + "\n".join(problems))
  return nnx.from_flat_state(flat)
