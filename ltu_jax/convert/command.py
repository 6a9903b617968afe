"""Runs the command line of the conversions; see cli.py."""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from ltu_jax.bucket_store import BucketError
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.config import ConfigError
from ltu_jax.convert import from_run, importing
from ltu_jax.convert.tensors import ConversionError, Source
from ltu_jax.data.tokenizer import (
  SentencePieceTokenizer,
  Tokenizer,
  TokenizerError,
  load_tokenizer,
)

ERRORS = (
  *(BucketError, ConversionError, CheckpointError, ConfigError),
  *(TokenizerError, OSError),
)
"""What the user can mend; the message tells it in full."""


def import_base(args: argparse.Namespace) -> list[str]:
  """Reads the sources in their order and writes the base folder.

  Args:
    args: Of the command line.

  Returns:
    Lines for the user.

  Raises:
    ERRORS: What the user can mend; nothing half-written is left.
  """
  given = [name for name in _READERS if getattr(args, name)]
  if not given:
    raise ConversionError(
      f"nothing to import: give one of {', '.join(f'--{n}' for n in _READERS)}"
    )
  sources: list[Source] = []
  for name in given:
    path = pathlib.Path(getattr(args, name))
    if not path.exists():
      raise ConversionError(f"--{name}: there is no file or folder {path}.")
    llama = importing.merge(sources).parts.get("llama")
    sources.append(_READERS[name](path, llama))
  merged = importing.merge(sources)
  settings = list(args.set)
  brought = any(
    "llama" in source.parts and name not in _OURS
    for name, source in zip(given, sources, strict=True)
  )
  if "llama" in merged.parts and (args.dtype or brought):
    settings.append(f"llama.param_dtype={args.dtype or 'bfloat16'}")
  parts = importing.override(merged.parts, settings)
  source = dataclasses.replace(merged, parts=parts)
  if args.tokenizer:
    source = dataclasses.replace(source, tokenizer=_tokenizer(args.tokenizer))
  for note in source.notes:
    print(note, flush=True)
  lines = importing.import_base(args.out, source, _origin(args, given, source))
  if "llama" in parts and source.tokenizer is None:
    lines.append("no tokenizer came with it: give one by --tokenizer")
  return [*lines, f"{args.out}: train with --config.base={args.out}"]


def _origin(
  args: argparse.Namespace, given: Sequence[str], source: Source
) -> list[str]:
  """What a model card will say: names, without this machine's folders."""
  paths = {name: pathlib.Path(getattr(args, name)) for name in given}
  lines = [f"--{name}={path.name}" for name, path in paths.items()]
  for note in source.notes:
    for path in paths.values():
      note = note.replace(f"{path.parent}/", "")
    lines.append(note)
  return lines


def _tokenizer(path: str) -> Tokenizer:
  """The tokenizer of a folder, or of a SentencePiece file."""
  try:
    if pathlib.Path(path).is_file():
      return SentencePieceTokenizer(path)
    found = load_tokenizer(path)
  except ValueError as error:
    raise ConversionError(f"--tokenizer: {error}") from error
  if found is None:
    raise ConversionError(
      f"--tokenizer: {path} has neither tokenizer.model nor tokenizer.json."
    )
  return found


def _read_base(path: pathlib.Path, llama: object) -> Source:
  del llama
  return from_run.base_source(path)


def _read_llama(path: pathlib.Path, llama: object) -> Source:
  del llama
  inside = sorted(path.glob("*.gguf"))
  if path.is_file() or (inside and not (path / "config.json").exists()):
    from ltu_jax.convert.gguf import read_gguf

    if len(inside) > 1:
      names = ", ".join(p.name for p in inside)
      raise ConversionError(f"--llama: {path} has {names}; name one of them.")
    return read_gguf(inside[0] if inside else path)
  from ltu_jax.convert.llama import read_llama

  return read_llama(path)


def _read_run(path: pathlib.Path, llama: object) -> Source:
  # Projection and adapters were learnt for the run's own decoder.
  return from_run.run_source(path, encoder_alone=llama is not None)


def _read_audio(path: pathlib.Path, llama: object) -> Source:
  del llama
  if (path / "config.json").exists():
    from ltu_jax.convert.hf_ast import read_hf_ast

    return read_hf_ast(path)
  from ltu_jax.convert.cav_mae import read_cav_mae

  return read_cav_mae(path)


def _read_ltu(path: pathlib.Path, llama: object) -> Source:
  from ltu_jax.convert.published import read_published

  return read_published(path, llama)


def _read_peft(path: pathlib.Path, llama: object) -> Source:
  del llama
  from ltu_jax.convert.peft import read_peft

  return read_peft(path)


_READERS: dict[str, Callable[[pathlib.Path, object], Source]] = {
  "base": _read_base,
  "llama": _read_llama,
  "run": _read_run,
  "audio": _read_audio,
  "ltu": _read_ltu,
  "peft": _read_peft,
}
"""Option -> reader, in the order in which they are laid over each other."""

_OURS = ("base", "run")
"""Those whose decoder stays in its dtype unless another is asked for."""


def export(args: argparse.Namespace) -> list[str]:
  """Opens the run or base folder and writes the format.

  Args:
    args: Of the command line.

  Returns:
    Lines for the user.

  Raises:
    ERRORS: What the user can mend; nothing half-written is left.
  """
  from ltu_jax.convert import formats
  from ltu_jax.convert.bundle_folder import write_bundle

  if args.stage is not None and not args.workdir:
    raise ConversionError("--stage goes with --workdir.")
  if args.all_weights and args.format != "ltu":
    raise ConversionError("--all_weights goes with --format=ltu.")
  if args.unmerged and args.format != "hf":
    raise ConversionError("--unmerged goes with --format=hf.")
  if args.workdir:
    opened = from_run.open_run(args.workdir, args.stage)
  else:
    opened = from_run.open_base(args.base)
  tensors, cfg, tokenizer = opened.tensors, opened.cfg, opened.tokenizer
  if args.format == "ltu":
    notes = formats.export_ltu(
      args.out, tensors, cfg, opened.carried, all_weights=args.all_weights
    )
  elif args.format == "peft":
    notes = formats.export_peft(args.out, tensors, cfg)
  elif args.format == "hf":
    notes = formats.export_hf(
      args.out, tensors, cfg, tokenizer, merge=not args.unmerged
    )
  else:
    notes = write_bundle(
      args.out, tensors, cfg, tokenizer, opened.stage, opened.training
    )
  return [*(notes or []), f"wrote {args.out}"]


RUN: Mapping[str, Callable[[argparse.Namespace], list[str]]] = {
  "import": import_base,
  "export": export,
}
"""What runs each command; returns lines for the user."""
