"""Sources -> one base folder: checked first, then written one by one."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy
from tqdm import tqdm

from ltu_jax import base
from ltu_jax.convert.from_run import CARRIED
from ltu_jax.convert.from_torch import Entry, entries, problems
from ltu_jax.convert.names import part_of_name, to_ours
from ltu_jax.convert.tensors import (
  ConversionError,
  Source,
  Tensor,
  problem_table,
)
from ltu_jax.models.ltu import PART_TYPES, LtuConfig, part_of

# Sign-free bits of the exponent: all set in an infinity or a NaN.
_EXPONENT = {
  np.dtype(np.float16): np.uint16(0x7C00),
  np.dtype(ml_dtypes.bfloat16): np.uint16(0x7F80),
}

# The norms of the published encoder take 0.6 MB, LLaMA's frequencies 10 kB.
_MOST_CARRIED = 64 << 20

# Elements that are looked at together when numbers are checked.
_BLOCK = 1 << 22


def merge(sources: Sequence[Source]) -> Source:
  """Lays sources over each other; a later one replaces whole parts.

  A decoder also replaces the adapters that were there: they were of another.
  """
  tensors: dict[str, Tensor] = {}
  parts: dict[str, Any] = {}
  carried: dict[str, Tensor] = {}
  tokenizer, notes = None, []
  for source in sources:
    replaced = set(source.parts)
    if "llama" in replaced:
      replaced.add("lora")
    if dropped := sorted((replaced & set(parts)) - set(source.parts)):
      notes.append(f"dropped {', '.join(dropped)} of the sources before")
    keep = lambda name, gone=replaced: part_of_name(name) not in gone
    parts = {k: v for k, v in parts.items() if k not in replaced}
    tensors = {k: v for k, v in tensors.items() if keep(k)}
    carried = {k: v for k, v in carried.items() if keep(k)}
    parts |= source.parts
    tensors |= source.tensors
    carried |= source.carried
    tokenizer = source.tokenizer or tokenizer
    notes += source.notes
  return Source(tensors, parts, carried, tokenizer, tuple(notes))


def override(
  parts: Mapping[str, Any], settings: Iterable[str]
) -> dict[str, Any]:
  """Changes sizes by hand.

  Args:
    parts: Part name -> its dataclass.
    settings: Such as "encoder.heads=4"; lists are separated by commas. Where
      llama.heads is set and llama.head_dim is not, it is dim / heads.

  Raises:
    ConversionError: A setting that names no field, or no such value.
  """
  changes: dict[str, dict[str, Any]] = {}
  for setting in settings:
    key, _, text = setting.partition("=")
    part, _, field = key.partition(".")
    known = {
      f"{p}.{f.name}" for p in parts for f in dataclasses.fields(parts[p])
    }
    if key not in known or not text:
      raise ConversionError(
        f"--set {setting}: write PART.FIELD=VALUE; there are "
        f"{', '.join(sorted(known))}"
      )
    try:
      value = _parse(text, getattr(parts[part], field))
    except ValueError as error:
      raise ConversionError(f"--set {setting}: {error}") from error
    changes.setdefault(part, {})[field] = value
  if "heads" in changes.get("llama", ()):
    changes["llama"].setdefault("head_dim", 0)
  try:
    return dict(parts) | {
      part: dataclasses.replace(parts[part], **fields)
      for part, fields in changes.items()
    }
  except ValueError as error:
    raise ConversionError(f"--set {' '.join(settings)}: {error}") from error


def _parse(text: str, old: Any) -> Any:
  """A value of the type that the field has."""
  if isinstance(old, bool):
    if text not in ("true", "false"):
      raise ValueError("write true or false")
    return text == "true"
  if isinstance(old, tuple):
    return tuple(text.split(","))
  return type(old)(text)


def import_base(
  out: str | os.PathLike,
  source: Source,
  origin: Sequence[str],
  progress: bool = True,
) -> list[str]:
  """Writes a merged source as a base folder.

  Args:
    out: The folder to make.
    source: What goes in, with the sizes it is to have.
    origin: Where it comes from, a line for each input.
    progress: Whether a progress bar is shown.

  Returns:
    Lines that say what was written, with dtypes.

  Raises:
    ConversionError: Tensors that are missing, unexpected, mis-shaped or not
      finite, all in one table; or far too many that have no use; nothing is
      written.
    CheckpointError: The folder exists.
  """
  cfg, parts = _model(source.parts)
  if rows := problems(cfg, parts, source.tensors):
    raise _refused(rows)
  _check_carried(source.carried)
  todo = list(entries(cfg, parts))
  total = sum(source.tensors[entry.name].nbytes for entry in todo)
  with (
    base.BaseWriter(out, source.parts, origin) as writer,
    tqdm(
      total=total,
      unit="B",
      unit_scale=True,
      desc="importing",
      disable=not progress,
    ) as bar,
  ):
    for entry in todo:
      tensor = source.tensors[entry.name]
      row = _copy(entry, tensor, None if rows else writer)
      rows += row
      bar.update(tensor.nbytes)
    if rows:
      raise _refused(rows)
    if source.carried:
      safetensors.numpy.save_file(
        {name: t.read() for name, t in source.carried.items()},
        writer.folder / CARRIED,
      )
    if source.tokenizer is not None:
      source.tokenizer.save(writer.folder)
  return _summary(todo, source.tensors)


def _check_carried(carried: Mapping[str, Tensor]) -> None:
  """Refuses more than norms and frequencies, as it is held at once."""
  size = sum(tensor.nbytes for tensor in carried.values())
  if size > _MOST_CARRIED:
    some = next(iter(carried.values())).origin
    raise ConversionError(
      f"{size:,} bytes of tensors that change no output, such as {some}: the"
      f" published models have less than {_MOST_CARRIED:,}. Take them out."
    )


def _model(parts: Mapping[str, Any]) -> tuple[LtuConfig, list[str]]:
  """The model whose parts these are; sizes of the others are not used.

  Raises:
    ConversionError: A part that cannot be understood without the decoder.
  """
  alone = {"projector", "lora"} & set(parts)
  if alone and "llama" not in parts:
    raise ConversionError(
      f"{', '.join(sorted(alone))} cannot be imported without the decoder: "
      "add --llama=FOLDER, or --base=FOLDER with one."
    )
  try:
    return LtuConfig(**parts), [p for p in PART_TYPES if p in parts]
  except ValueError as error:
    raise ConversionError(str(error)) from error


def _refused(rows: Sequence[tuple[str, str, str]]) -> ConversionError:
  return ConversionError(
    f"nothing was written; {len(rows)} tensors are wrong:\n"
    + problem_table(rows)
  )


def _copy(
  entry: Entry, tensor: Tensor, writer: base.BaseWriter | None
) -> list[tuple[str, str, str]]:
  """Reads, checks, turns and writes one tensor; returns what is wrong."""
  array = tensor.read()
  if not all_finite(array):
    return [("not finite", entry.name, tensor.origin)]
  if writer is None:
    return []
  with np.errstate(over="ignore"):  # told below
    ours = to_ours(entry.path, array, entry.shape, entry.dtype)
  if entry.dtype == np.float16 != array.dtype and not all_finite(ours):
    detail = f"too large for {entry.dtype}, in {tensor.origin}"
    return [("not finite", entry.name, detail)]
  writer.add(base.stored_name(entry.path, entry.layer), ours)
  return []


def all_finite(array: np.ndarray) -> bool:
  """Whether a tensor has neither infinities nor NaN; needs little memory."""
  flat = np.ascontiguousarray(array).reshape(-1)
  mask = _EXPONENT.get(array.dtype)
  for start in range(0, flat.size, _BLOCK):
    block = flat[start : start + _BLOCK]
    if mask is None:
      bad = not np.isfinite(block).all()
    else:
      bad = ((block.view(np.uint16) & mask) == mask).any()
    if bad:
      return False
  return True


def _summary(todo: Sequence[Entry], tensors: Mapping[str, Tensor]) -> list[str]:
  """Lines of parts: tensors, parameters, dtypes in the file and stored."""
  groups: dict[tuple[str, str, str], list[int]] = {}
  for entry in todo:
    source = tensors[entry.name]
    key = (part_of(entry.path), str(source.dtype), str(entry.dtype))
    count = groups.setdefault(key, [0, 0])
    count[0] += 1
    count[1] += int(np.prod(entry.shape, dtype=np.int64))
  return [
    f"{part:10s} {num:5d} tensors {size:15,d} parameters  "
    + (f"{old}, as it was" if old == new else f"{old} -> {new}")
    for (part, old, new), (num, size) in groups.items()
  ]
