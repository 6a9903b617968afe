"""The command line of the conversions.

python -m ltu_jax.convert import --llama=vicuna-7b --out=bases/vicuna-7b
python -m ltu_jax.convert export --workdir=runs/x --format=bundle --out=x
"""

import argparse
from collections.abc import Sequence

from ltu_jax import version

DTYPES = ("bfloat16", "float16", "float32")
"""What the decoder can be stored in; everything else is float32."""

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


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
  """Reads the arguments; `command` is "import" or "export".

  Args:
    argv: Arguments; None takes the process's.

  Raises:
    SystemExit: Unknown ones (status 2), or a call for help.
  """
  parser = argparse.ArgumentParser(
    prog="python -m ltu_jax.convert",
    description="Brings checkpoints of other codebases in and out.",
    allow_abbrev=False,
  )
  version.add(parser)
  commands = parser.add_subparsers(
    dest="command", required=True, metavar="import | export"
  )
  _add_import(commands)
  _add_export(commands)
  return parser.parse_args(argv)


def _command(
  commands: argparse._SubParsersAction, name: str, help: str, examples: str
) -> argparse.ArgumentParser:
  """Adds a command, whose examples stand in its help as they are."""
  return commands.add_parser(
    name,
    help=help,
    description=examples,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )


def _add_import(commands: argparse._SubParsersAction) -> None:
  text = "make a base folder from published weights"
  add = _command(commands, "import", text, _IMPORT).add_argument
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
    choices=DTYPES,
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


def _add_export(commands: argparse._SubParsersAction) -> None:
  text = "write a trained model in another format"
  parser = _command(commands, "export", text, _EXPORT)
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
