"""Checkpoints of other codebases, in and out; the command line is cli.py."""

import argparse
import sys
from collections.abc import Sequence

from ltu_jax.convert import cli


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments; None takes the process's.

  Returns:
    Exit status: 0; 2 after an error that the user can mend, told in full; 130
    after an interruption. Then nothing half-written is left.
  """
  args = cli.parse(argv)
  try:
    return _run(args)
  except KeyboardInterrupt:
    print("convert: interrupted; nothing was written.", file=sys.stderr)
    return 130


def _run(args: argparse.Namespace) -> int:
  """Does what the command line says."""
  from ltu_jax.convert import command  # imports JAX: a typo costs no seconds

  try:
    lines = command.RUN[args.command](args)
  except command.ERRORS as error:
    print(f"convert: {error}", file=sys.stderr)
    return 2
  print("\n".join(lines))
  return 0


if __name__ == "__main__":
  sys.exit(main())
