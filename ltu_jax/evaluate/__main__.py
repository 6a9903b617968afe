"""Evaluates a trained model on the command line; see cli.py."""

import contextlib
import pathlib
import sys
from collections.abc import Sequence

from ltu_jax.evaluate import cli
from ltu_jax.evaluate.errors import EvaluateError

_STOPPED = 130
"""Status after Ctrl-C: 128 and the signal's number, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments; None takes the process's.

  Returns:
    Exit status: 0, 2 after an error that the user can mend, told in one line,
    or 130 after Ctrl-C.
  """
  argv = sys.argv[1:] if argv is None else argv
  try:
    return _report(argv[1:]) if argv[:1] == ["report"] else _evaluate(argv)
  except EvaluateError as error:
    return _fail(str(error))
  except KeyboardInterrupt:
    print("evaluate: stopped; the same command goes on.", file=sys.stderr)
    return _STOPPED


def _evaluate(argv: Sequence[str]) -> int:
  """Asks a model."""
  args = cli.parse(argv)
  from ltu_jax.evaluate import command  # imports JAX: a typo costs no seconds

  try:
    return command.run(args)
  except command.ERRORS as error:
    return _fail(str(error))


def _report(argv: Sequence[str]) -> int:
  """Makes the page of results that are there."""
  args = cli.parse_report(argv)
  from ltu_jax.evaluate import command

  with contextlib.redirect_stdout(sys.stderr):
    command.report(
      [pathlib.Path(folder) for folder in args.folders],
      args.out and pathlib.Path(args.out),
      args.allow,
      args.data_dir,
    )
  return 0


def _fail(message: str) -> int:
  """Tells what is wrong."""
  print(f"evaluate: {message}", file=sys.stderr)
  return 2


if __name__ == "__main__":
  sys.exit(main())
