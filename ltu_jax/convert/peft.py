"""PEFT's adapter folders: adapter_config.json and the adapter's weights.

PEFT saves names without the adapter's own, `lora_A.weight`; the published
files and the canonical names have it, `lora_A.default.weight`.
"""

import os
import pathlib
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ltu_jax import json_text
from ltu_jax.convert.files import (
  open_safetensors,
  open_weights,
  read_json,
  safetensors_metadata,
)
from ltu_jax.convert.names import PREFIX, part_of_name
from ltu_jax.convert.tensors import (
  ConversionError,
  Source,
  Tensor,
  config_of,
  problem_table,
)
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.projector import ProjectorConfig

AUDIO = "audio.safetensors"
"""File beside the adapter with the ear and the projection, if they are there.

Names are canonical; the header's metadata has the sizes of each as JSON, under
"encoder" and "projector" (the fields of EncoderConfig and ProjectorConfig).
"""

PROJECTIONS = (
  *("q_proj", "k_proj", "v_proj", "o_proj"),
  *("gate_proj", "up_proj", "down_proj"),
)
"""The decoder's linear layers, in the order in which targets are named."""

_NAME = re.compile(
  r"(?P<stem>model\.layers\.\d+\.(self_attn|mlp)\.(?P<target>\w+_proj)"
  r"\.lora_(?P<side>[AB]))(\.default)?\.weight"
)

# Keys of adapter_config.json (peft 0.21.2) that do not say what is computed,
# or only how training starts.
_FREE_KEYS = {
  *("auto_mapping", "base_model_name_or_path", "corda_config", "eva_config"),
  *("exclude_modules", "inference_mode", "loftq_config", "lora_ga_config"),
  *("megatron_core", "peft_version", "qalora_group_size", "revision"),
  *("task_type", "layers_pattern"),
}

# Those that are read.
_READ_KEYS = {
  *("peft_type", "r", "lora_alpha", "lora_dropout", "target_modules"),
  *("bias", "init_lora_weights"),
}

# Starts of training that leave the base model's weights alone; the others
# (PiSSA, OLoRA, CorDA, LoftQ, ...) belong to a base that was changed.
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")

_Rows = list[tuple[str, str, str]]


def read_peft(folder: str | os.PathLike) -> Source:
  """Opens an adapter folder of PEFT, and the audio weights beside it.

  Args:
    folder: has adapter_config.json and adapter_model.safetensors or .bin;
      audio.safetensors too, if it is one of ours.

  Returns:
    The adapters, and the parts that audio.safetensors has.

  Raises:
    ConversionError: files that are missing or damaged; anything in the config
      that computes something else than x w + alpha / rank * x a b, all of it;
      tensors that do not fit the config.
  """
  folder = pathlib.Path(folder)
  where = folder / "adapter_config.json"
  config = read_json(where)
  rows = _unsupported(config)
  rank = config.get("r")
  if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
    rows.append(("no positive number", "r", repr(rank)))
  alpha = _number(config, "lora_alpha", 8, rows)  # as peft, if it lacks
  dropout = _number(config, "lora_dropout", 0.0, rows)
  if rows:
    raise ConversionError(f"{where}: cannot be read\n{problem_table(rows)}")
  tensors = adapter_tensors(
    str(folder), open_weights(folder, ("adapter_model", "adapter_model"))
  )
  lora = config_of(
    LoraConfig,
    str(where),
    rank=rank,
    alpha=alpha,
    dropout=dropout,
    targets=targets(tensors),
  )
  rows = rank_problems(tensors, rank) + _other_targets(config, lora.targets)
  if rows:
    raise ConversionError(f"{folder}: does not fit\n{problem_table(rows)}")
  parts: dict[str, Any] = {"lora": lora}
  if (folder / AUDIO).exists():
    audio_parts, audio = _read_audio(folder / AUDIO)
    parts, tensors = audio_parts | parts, tensors | audio
  notes = ()
  if isinstance(config.get("target_modules"), str):
    notes = (f"{where}: adapters are on {', '.join(lora.targets)}",)
  return Source(tensors, parts, notes=notes)


def _unsupported(config: Mapping[str, Any]) -> _Rows:
  """What a config asks for that our adapters do not compute."""
  rows = []
  if config.get("peft_type") != "LORA":
    detail = f"{config.get('peft_type')!r}: only 'LORA' can be read"
    rows.append(("unsupported", "peft_type", detail))
  if config.get("bias") not in (None, "none"):
    detail = f"{config['bias']!r}: only 'none' can be read"
    rows.append(("unsupported", "bias", detail))
  if config.get("init_lora_weights") not in _STARTS:
    detail = f"{config['init_lora_weights']!r}: it changes the base model"
    rows.append(("unsupported", "init_lora_weights", detail))
  # Whatever else is switched on, also by a PEFT yet to come.
  for key in sorted(set(config) - _FREE_KEYS - _READ_KEYS):
    if config[key] not in (None, False, [], {}):
      rows.append(("unsupported", key, repr(config[key])[:60]))
  return rows


def _number(
  config: Mapping[str, Any], key: str, default: float, rows: _Rows
) -> float:
  value = config.get(key, default)
  numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
  if not (numeric and 0 <= value <= sys.float_info.max):
    rows.append(("no number", key, repr(value)))
    return default
  return float(value)


def adapter_tensors(
  where: str, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
  """Adapters under their canonical names.

  Args:
    where: the file or folder, for messages.
    tensors: as PEFT names them: with or without `base_model.model.`, with or
      without the adapter's name, which has to be "default".

  Raises:
    ConversionError: tensors that are no adapters of the decoder's projections,
      or that are there twice, all of them.
  """
  found, rows = {}, []
  for name, tensor in tensors.items():
    match = _NAME.fullmatch(name.removeprefix(PREFIX))
    if not match or match["target"] not in PROJECTIONS:
      detail = f"in {tensor.origin}"
      rows.append(("no adapter of LLaMA", name, detail))
      continue
    canonical = f"{match['stem']}.default.weight"
    if canonical in found:
      rows.append(("twice", canonical, f"also {tensor.origin}"))
    found[canonical] = tensor
  if not found:
    rows.append(("missing", "any adapter", ""))
  if rows:
    raise ConversionError(
      f"{where}: cannot read its adapters\n{problem_table(rows)}"
    )
  return found


def targets(names: Iterable[str]) -> tuple[str, ...]:
  """The projections with adapters among canonical names, as PROJECTIONS."""
  found = {m["target"] for name in names if (m := _NAME.fullmatch(name))}
  return tuple(name for name in PROJECTIONS if name in found)


def rank_problems(tensors: Mapping[str, Tensor], rank: int) -> _Rows:
  """Adapters whose shape is of another rank, as rows of a problem table."""
  rows = []
  for name, tensor in tensors.items():
    axis = 0 if ".lora_A." in name else 1
    if len(tensor.shape) != 2 or tensor.shape[axis] != rank:
      detail = f"{list(tensor.shape)} in {tensor.origin}, the rank is {rank}"
      rows.append(("mis-shaped", name, detail))
  return rows


def _other_targets(config: Mapping[str, Any], found: tuple[str, ...]) -> _Rows:
  """Where the config's list of targets and the tensors differ.

  PEFT also takes a pattern; what it matched shows in the tensors.
  """
  given = config.get("target_modules")
  if given is None or isinstance(given, str):
    return []
  if not isinstance(given, list) or not all(isinstance(x, str) for x in given):
    return [("unsupported", "target_modules", repr(given))]
  # An entry is a module's name or how it ends, such as self_attn.q_proj.
  named = {entry.rsplit(".", 1)[-1] for entry in given}
  differ = sorted(named ^ set(found))
  detail = {True: "named, but has no tensors", False: "not named"}
  return [("target_modules", name, detail[name in named]) for name in differ]


def _read_audio(
  path: pathlib.Path,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
  """The parts in our audio file, and its tensors."""
  tensors, metadata = open_safetensors(path), safetensors_metadata(path)
  kinds = {"encoder": EncoderConfig, "projector": ProjectorConfig}
  present = {part_of_name(name) for name in tensors}
  if extra := sorted(present - set(kinds)):
    raise ConversionError(f"{path}: has weights of {', '.join(extra)}")
  parts = {}
  for part in sorted(present):
    # The projection has no sizes of its own beside its constants.
    text = metadata.get(part, "{}" if part == "projector" else "")
    try:
      parts[part] = kinds[part](**json_text.parse(text))
    except (TypeError, ValueError) as e:
      raise ConversionError(
        f"{path}: the metadata {part!r} is not the fields of "
        f"{kinds[part].__name__} as JSON: {e}"
      ) from e
  return parts, tensors


def adapter_config_json(
  lora: LoraConfig, base_name: str | None = None
) -> dict[str, Any]:
  """The adapter_config.json of our adapters, for peft 0.21.2 and older ones.

  Args:
    lora: the adapters' sizes; the rank is at least 1.
    base_name: name or path of the LLaMA they go on, if it is known.
  """
  # PEFT declares a whole number.
  alpha = int(lora.alpha) if float(lora.alpha).is_integer() else lora.alpha
  return {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": base_name,
    "inference_mode": True,
    "r": lora.rank,
    "lora_alpha": alpha,
    "lora_dropout": lora.dropout,
    "target_modules": list(lora.targets),
    "bias": "none",
    "fan_in_fan_out": False,
    "init_lora_weights": True,
    "modules_to_save": None,
  }
