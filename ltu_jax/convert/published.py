"""The published LTU file: a state dict of the trained part, or of everything.

The file has no config. Sizes are read off the shapes; what shapes cannot say
is LTU's, and a note says which that is.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from ltu_jax.convert.files import open_weights
from ltu_jax.convert.names import (
  ENCODER,
  PREFIX,
  PROJECTOR,
  is_carried,
  part_of_name,
)
from ltu_jax.convert.peft import adapter_tensors, rank_problems, targets
from ltu_jax.convert.tensors import (
  ConversionError,
  Source,
  Tensor,
  config_of,
  problem_table,
)
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.projector import ProjectorConfig

AUDIO_HEAD_DIM = 64
"""Width of the encoder's heads: CAV-MAE base has 12 at 768."""

LLAMA_HEAD_DIM = 128
"""Width of the decoder's heads in every LLaMA of Touvron et al. (2023)."""


_DECODER = ("model.layers.", "model.embed_tokens.", "model.norm.", "lm_head.")


def read_published(
  path: str | os.PathLike, llama: LlamaConfig | None = None
) -> Source:
  """Opens a checkpoint of the published code.

  Args:
    path: a `.bin` or `.safetensors` file (or folder, see
      `files.open_weights`): entries with "lora" or "audio" in the name, or all
      of the model's; all names with `base_model.model.`, or none.
    llama: the decoder's sizes if they are known. Only used if the file has the
      decoder's weights, which do not show its heads.

  Returns:
    The parts that have weights in the file. LayerNorms that the published
    model has but does not use and rotary frequencies are carried.

  Raises:
    ConversionError: a file that cannot be read, is no checkpoint of LTU, has
      some names with the prefix and some without, or adapters of several ranks.
  """
  tensors = _without_prefix(str(path), open_weights(path))
  adapters = {k: t for k, t in tensors.items() if part_of_name(k) == "lora"}
  carried = {k: t for k, t in tensors.items() if is_carried(k)}
  tensors = {k: t for k, t in tensors.items() if k not in adapters | carried}
  # Other names are left for the importer to report.
  known = (*_DECODER, ENCODER, PROJECTOR)
  present = {part_of_name(k) for k in tensors if k.startswith(known)}
  parts: dict[str, Any] = {}
  notes: list[str] = []
  if "encoder" in present:
    parts["encoder"], note = encoder_config(str(path), tensors)
    notes.append(note)
  if "projector" in present:
    parts["projector"] = ProjectorConfig()
  if "llama" in present:
    parts["llama"] = llama
    if llama is None:
      parts["llama"], note = decoder_config(str(path), tensors)
      notes.append(note)
  if adapters:
    adapters = adapter_tensors(str(path), adapters)
    parts["lora"] = _lora_config(str(path), adapters)
    notes.append(
      f"{path}: LoRA's alpha is not in the file: {parts['lora'].alpha:g}, as "
      "published"
    )
  return Source(tensors | adapters, parts, carried, notes=tuple(notes))


def _without_prefix(
  path: str, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
  """Canonical names, if all names have PEFT's prefix or none has."""
  bare = sorted(name for name in tensors if not name.startswith(PREFIX))
  if bare and len(bare) < len(tensors):
    some = ", ".join(bare[:3]) + (", ..." if len(bare) > 3 else "")
    raise ConversionError(
      f"{path}: {len(bare)} of {len(tensors)} names lack {PREFIX!r}, which "
      f"the others have: {some}"
    )
  found = {name.removeprefix(PREFIX): t for name, t in tensors.items()}
  known = (*_DECODER, ENCODER, PROJECTOR)
  if not any(name.startswith(known) for name in found):
    some = ", ".join(sorted(tensors)[:3]) or "nothing at all"
    raise ConversionError(f"{path}: no checkpoint of LTU, it has {some}")
  return found


class _Shapes:
  """Looks up shapes, and keeps count of what is missing."""

  def __init__(self, tensors: Mapping[str, Tensor]):
    self.tensors = tensors
    self.rows: list[tuple[str, str, str]] = []

  def get(self, name: str, rank: int) -> tuple[int, ...]:
    """A tensor's shape; ones if it is missing or of another rank."""
    tensor = self.tensors.get(name)
    if tensor is None:
      self.rows.append(("missing", name, ""))
    elif len(tensor.shape) != rank or 0 in tensor.shape:
      self.rows.append(
        ("mis-shaped", name, f"{list(tensor.shape)}, not of {rank} axes")
      )
    else:
      return tensor.shape
    return (1,) * rank

  def count(self, pattern: str) -> int:
    """One more than the highest number that a pattern finds in names."""
    found = (re.match(pattern, name) for name in self.tensors)
    return max((int(m[1]) + 1 for m in found if m), default=0)

  def check(self, path: str, part: str) -> None:
    """Raises ConversionError if something was missing."""
    if self.rows:
      raise ConversionError(
        f"{path}: the {part}'s sizes cannot be told:\n"
        + problem_table(self.rows)
      )


def encoder_config(
  path: str, tensors: Mapping[str, Tensor]
) -> tuple[EncoderConfig, str]:
  """The encoder's sizes from its weights' shapes.

  Args:
    path: the file, for messages.
    tensors: by canonical name.

  Returns:
    The sizes, and a line that says what was assumed.

  Raises:
    ConversionError: tensors that are needed for it and are missing or of
      another rank, or that contradict each other.
  """
  shapes = _Shapes(tensors)
  dim, _, mels, frames = shapes.get(f"{ENCODER}.patch_embed_a.proj.weight", 4)
  patches = shapes.get(f"{ENCODER}.pos_embed_a", 3)[1]
  hidden = shapes.get(f"{ENCODER}.blocks_u.0.mlp.fc1.weight", 2)[0]
  shapes.check(path, "encoder")
  num_mels = EncoderConfig.num_mels
  rows = num_mels // mels
  if num_mels % mels or patches % rows or hidden % dim:
    raise ConversionError(
      f"{path}: patches of {mels} x {frames} do not fill {num_mels} mel bins "
      f"with {patches} positions, or the MLP's width {hidden} is no multiple "
      f"of {dim}"
    )
  heads = dim // AUDIO_HEAD_DIM if dim % AUDIO_HEAD_DIM == 0 else 1
  cfg = config_of(
    EncoderConfig,
    path,
    dim=dim,
    depth=shapes.count(rf"{re.escape(ENCODER)}\.blocks_a\.(\d+)\.") + 1,
    heads=heads,
    mlp_ratio=hidden // dim,
    patch_mels=mels,
    patch_frames=frames,
    num_frames=patches // rows * frames,
  )
  note = (
    f"{path}: the encoder's heads are not in the file: {heads} of "
    f"{dim // heads}, as CAV-MAE's are {AUDIO_HEAD_DIM} wide"
  )
  return cfg, note


def decoder_config(
  path: str, tensors: Mapping[str, Tensor]
) -> tuple[LlamaConfig, str]:
  """The decoder's sizes from its weights' shapes.

  Args:
    path: the file, for messages.
    tensors: by canonical name.

  Returns:
    The sizes, and a line that says what was assumed.

  Raises:
    ConversionError: tensors that are needed for it and are missing or of
      another rank; keys and values whose heads cannot be told.
  """
  shapes = _Shapes(tensors)
  vocab, dim = shapes.get("model.embed_tokens.weight", 2)
  layer = "model.layers.0"
  mlp_dim = shapes.get(f"{layer}.mlp.gate_proj.weight", 2)[0]
  queries = shapes.get(f"{layer}.self_attn.q_proj.weight", 2)[0]
  keys = shapes.get(f"{layer}.self_attn.k_proj.weight", 2)[0]
  shapes.check(path, "decoder")
  head_dim = LLAMA_HEAD_DIM
  if queries == keys and queries % head_dim:
    head_dim = queries
  if queries % keys or keys % head_dim:
    raise ConversionError(
      f"{path}: {queries} query and {keys} key features do not say how many "
      "heads there are: give the decoder's folder as well"
    )
  cfg = config_of(
    LlamaConfig,
    path,
    vocab=vocab,
    dim=dim,
    mlp_dim=mlp_dim,
    layers=shapes.count(r"model\.layers\.(\d+)\."),
    heads=queries // head_dim,
    kv_heads=keys // head_dim,
    head_dim=head_dim,
    tied="lm_head.weight" not in tensors,
  )
  note = (
    f"{path}: the decoder's heads are not in the file: {cfg.heads} of "
    f"{head_dim}; rotary base {cfg.rope_base:g} and epsilon {cfg.norm_eps:g} "
    "are LLaMA's"
  )
  return cfg, note


def _lora_config(path: str, adapters: Mapping[str, Tensor]) -> LoraConfig:
  """The adapters' sizes; rank and targets show in the file."""
  shape = next(
    (t.shape for name, t in sorted(adapters.items()) if ".lora_A." in name),
    (),
  )
  rank = shape[0] if shape else 0
  if rows := rank_problems(adapters, rank):
    raise ConversionError(
      f"{path}: adapters of several ranks\n{problem_table(rows)}"
    )
  return config_of(LoraConfig, path, rank=rank, targets=targets(adapters))
