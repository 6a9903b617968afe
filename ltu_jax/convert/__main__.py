"""Checkpoints of other codebases, in and out, on the command line.

python -m ltu_jax.convert import --llama=vicuna-7b --out=bases/vicuna-7b
python -m ltu_jax.convert export --workdir=runs/x --format=bundle --out=x
"""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence

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

_IMPORT = """
Makes a base folder, which a run starts from (--config.base=FOLDER). Give any of
the sources; a later one in this list replaces the parts that it brings. Parts
that none brings are drawn when a run starts.

  # Vicuna and the audio encoder of stage 1
  python -m ltu_jax.convert import --llama=vicuna-7b-v1.1 \\
    --audio=audio_model.pth --out=bases/stage1
  # a published LTU checkpoint on top of its decoder
  python -m ltu_jax.convert import --llama=vicuna-7b-v1.1 \\
    --ltu=pytorch_model.bin --out=bases/ltu-7b
  # SmolLM2-135M-Instruct, a real decoder that fits a laptop
  python -m ltu_jax.convert import --dtype=float32 \\
    --llama=SmolLM2-135M-Instruct.Q4_1.gguf --out=bases/smollm2
  # a trained run, to train it further on other questions
  python -m ltu_jax.convert import --run=runs/quickstart --out=bases/quickstart
  # its encoder alone, with another decoder
  python -m ltu_jax.convert import --llama=vicuna-7b-v1.1 \\
    --run=runs/quickstart --out=bases/hearing-vicuna
  # adapters that PEFT trained, over an earlier import
  python -m ltu_jax.convert import --base=bases/stage1 --peft=adapter \\
    --out=bases/with-adapter
"""

_EXPORT = """
  # one folder for asking and evaluating, without the run's folder
  python -m ltu_jax.convert export --workdir=runs/stage4 --format=bundle \\
    --out=ltu-bundle
  # the published PyTorch code's file: adapters and audio weights
  python -m ltu_jax.convert export --workdir=runs/stage4 --format=ltu \\
    --out=pytorch_model.bin
  # an adapter folder for PEFT, and a LLaMA folder with the adapters merged
  python -m ltu_jax.convert export --workdir=runs/stage4 --format=peft --out=a
  python -m ltu_jax.convert export --workdir=runs/stage4 --format=hf --out=b
"""

_ERRORS = (
  *(BucketError, ConversionError, CheckpointError, ConfigError),
  *(TokenizerError, OSError),
)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments; None takes the process's.

  Returns:
    Exit status: 0; 2 after an error that the user can mend, told in full; 130
    after an interruption. Then nothing half-written is left.
  """
  args = _parser().parse_args(argv)
  try:
    lines = args.command(args)
  except _ERRORS as error:
    print(f"convert: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("convert: interrupted; nothing was written.", file=sys.stderr)
    return 130
  print("\n".join(lines))
  return 0


def _import(args: argparse.Namespace) -> list[str]:
  """Reads the sources in their order and writes the base folder."""
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


def _export(args: argparse.Namespace) -> list[str]:
  """Opens the run or base folder and writes the format."""
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


def _parser() -> argparse.ArgumentParser:
  """The command line."""
  parser = argparse.ArgumentParser(
    prog="python -m ltu_jax.convert",
    description="Brings checkpoints of other codebases in and out.",
    allow_abbrev=False,
  )
  commands = parser.add_subparsers(required=True, metavar="import | export")
  _add_import(commands)
  _add_export(commands)
  return parser


def _add_import(commands: argparse._SubParsersAction) -> None:
  parser = commands.add_parser(
    "import",
    help="make a base folder from published weights",
    description=_IMPORT,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("--out", required=True, help="base folder to make")
  add("--base", help="an earlier import to build on")
  add(
    "--llama",
    help="LLaMA or Vicuna as a Hugging Face folder; or a LLaMA GGUF file, or a "
    "folder with one",
  )
  add(
    "--run",
    help="folder of a trained run; beside another decoder, its encoder alone",
  )
  add(
    "--audio",
    help="audio encoder: CAV-MAE file (.pth) or Hugging Face ASTModel folder",
  )
  add("--ltu", help="published LTU file (.bin or .safetensors), of any stage")
  add("--peft", help="PEFT adapter folder")
  add(
    "--tokenizer",
    help="folder with tokenizer.model or tokenizer.json, or a SentencePiece "
    "file (default: the decoder's)",
  )
  add(
    "--dtype",
    choices=importing.DTYPES,
    help="of the decoder (default: bfloat16; of --base and --run, as it is); "
    "adapters, encoder and projection are float32",
  )
  add(
    "--set",
    action="append",
    default=[],
    metavar="PART.FIELD=VALUE",
    help="a size that the files do not say, such as encoder.heads=4 or "
    "lora.alpha=32; may be given several times",
  )
  parser.set_defaults(command=_import)


def _add_export(commands: argparse._SubParsersAction) -> None:
  parser = commands.add_parser(
    "export",
    help="write a trained model in another format",
    description=_EXPORT,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a trained run")
  source.add_argument("--base", help="base folder that import made")
  add(
    "--format",
    required=True,
    choices=("bundle", "ltu", "peft", "hf"),
    help="see the examples",
  )
  add("--out", required=True, help="file (ltu) or folder to make")
  add("--stage", type=int, help="export the model after this stage")
  add(
    "--all_weights",
    action="store_true",
    help="ltu: the decoder's weights too",
  )
  add(
    "--unmerged",
    action="store_true",
    help="hf: without the adapters, as --format=peft needs its decoder",
  )
  parser.set_defaults(command=_export)


if __name__ == "__main__":
  sys.exit(main())
