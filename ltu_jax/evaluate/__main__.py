"""Asks a trained model about held-out clips, on the command line.

  python -m ltu_jax.evaluate --bundle=ltu-bundle
  python -m ltu_jax.evaluate --workdir=runs/quickstart --items=100 --json

The clips are those of openaqa/mini that no training makes use of.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ltu_jax import default_config
from ltu_jax.audio.decode import AudioError
from ltu_jax.bundle import LOAD_ERRORS, load_model
from ltu_jax.data import prepare
from ltu_jax.data.question_source import RecordError
from ltu_jax.evaluate import held_out, report

_ERRORS = (*LOAD_ERRORS, AudioError, prepare.PrepareError, RecordError)

_CONTENT = ("name", "sounds_dir", "num_train", "num_test")
"""Fields of config.data that say what is in the data set."""

_OPENING = (*_CONTENT, "dir", "prepare")
"""Those that open it."""

_DEFAULT = default_config.get_config()


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments; None takes the process's.

  Returns:
    Exit status: 0, or 2 after an error that the user can mend.
  """
  args = _parser().parse_args(argv)
  try:
    # Standard output is for the result alone.
    with contextlib.redirect_stdout(sys.stderr):
      result = _evaluate(args)
  except _ERRORS as error:
    print(f"evaluate: {error}", file=sys.stderr)
    return 2
  if args.json:
    print(json.dumps(result.as_json(), allow_nan=False))
  else:
    print(report.render_result(result))
  return 0


def _evaluate(args: argparse.Namespace) -> held_out.Result:
  """Loads model and clips, and asks."""
  trained = load_model(args.workdir, args.bundle)
  data = _data(args, trained.config)
  _, test_set = prepare.open_splits(data)
  if test_set is None:
    raise prepare.PrepareError(
      f"{data['name']} has no held-out clips (it has no split `test`); to ask"
      " about those of openaqa/mini, make a bundle with `python -m"
      " ltu_jax.convert export` and give --bundle"
    )
  settings = held_out.settings(_DEFAULT, args.items)
  return held_out.evaluate(trained.model, trained.tokenizer, test_set, settings)


def _data(
  args: argparse.Namespace, config: Mapping[str, Any]
) -> dict[str, Any]:
  """Which data set: the run's where its folder is given, else the usual."""
  own = {k: v for k, v in (config.get("data") or {}).items() if k in _OPENING}
  default = {k: _DEFAULT.data[k] for k in _OPENING}
  data = default | (own if args.workdir else {})
  if args.data_dir:
    data["dir"] = args.data_dir
  differing = [k for k, v in own.items() if k in _CONTENT and v != data[k]]
  if differing:
    print(
      "evaluate: warning: the model was trained on a data set with other "
      f"{', '.join(sorted(differing))}: it may know clips that are held out "
      "here",
      file=sys.stderr,
    )
  return data


def _positive(text: str) -> int:
  """Reads a number of 1 or more."""
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f"{value}: it must be 1 or more")
  return value


def _parser() -> argparse.ArgumentParser:
  """The command line."""
  parser = argparse.ArgumentParser(
    prog="python -m ltu_jax.evaluate",
    description="Ask a trained model about the held-out clips of openaqa/mini, "
    "with and without their sound, and count right answers.",
    epilog="example: python -m ltu_jax.evaluate --bundle=ltu-bundle --items=50",
    allow_abbrev=False,
  )
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a trained run")
  source.add_argument("--bundle", help="folder that convert export made")
  add = parser.add_argument
  add(
    "--data_dir",
    default="",
    help="TFDS's folder (default: the run's, or for a bundle TFDS's default)",
  )
  add(
    "--items",
    type=_positive,
    default=500,
    help="questions of a kind at most; default: %(default)s",
  )
  add("--json", action="store_true", help="print all numbers as JSON")
  return parser


if __name__ == "__main__":
  sys.exit(main())
