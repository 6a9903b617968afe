"""The command line.

python -m ltu_jax.aqa make --source=folder:sounds --out=aqa --tfds=data
"""

import argparse
from collections.abc import Callable, Mapping, Sequence

from ltu_jax import version
from ltu_jax.aqa import make_command
from ltu_jax.aqa.asking import command as ask_command
from ltu_jax.aqa.asking import features_command
from ltu_jax.aqa.quality import command as quality_command

RUN: Mapping[str, Callable[[argparse.Namespace], int]] = {
  "make": make_command.run,
  "ask": ask_command.run,
  "features": features_command.run,
  "check": quality_command.run,
  "stats": quality_command.run,
  "browse": quality_command.run,
}
"""What runs each command; returns an exit status."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
  """Reads the arguments; `command` is a key of `RUN`.

  Args:
    argv: Arguments; None takes the process's.

  Raises:
    SystemExit: Unknown ones (status 2), or a call for help.
  """
  parser = argparse.ArgumentParser(
    prog="python -m ltu_jax.aqa",
    description="Make OpenAQA: questions and answers from labelled sounds.",
    epilog="`python -m ltu_jax.aqa COMMAND --help` says what each takes.   "
    "Exit status: 0 done, 2 a mistake in the call or in a file, 130 stopped by "
    "Ctrl-C.",
    allow_abbrev=False,
  )
  version.add(parser)
  commands = parser.add_subparsers(
    dest="command", required=True, metavar="COMMAND"
  )
  make_command.add_parser(commands)
  ask_command.add_parser(commands)
  features_command.add_parser(commands)
  quality_command.add_parsers(commands)
  return parser.parse_args(argv)
