"""--version of every command."""

import argparse
import sys

from absl import flags

from ltu_jax import __version__

# The flag is among those of the command that asks for it.
flags.disclaim_key_flags()

TEXT = f"ltu_jax {__version__}"
"""What --version prints, and what a result or bundle was made by."""


def add(parser: argparse.ArgumentParser) -> None:
  """Adds --version to a command's parser."""
  parser.add_argument("--version", action="version", version=TEXT)


class _VersionFlag(flags.BooleanFlag):
  """Ends the process as soon as it is read, as --help does."""

  def __init__(self):
    """Makes the flag."""
    super().__init__("version", False, "Print the version and end.")

  def parse(self, argument: str | bool | None) -> None:
    """Prints the version and ends, where it is asked for."""
    if self._parse(argument):
      print(TEXT)
      sys.exit(0)


def define_flag(values: flags.FlagValues) -> None:
  """Defines --version among the flags of absl."""
  flags.DEFINE_flag(_VersionFlag(), values)
