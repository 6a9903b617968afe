"""Reads --config, the flags of its fields and the others, with short errors."""

import re
from collections.abc import Sequence

import ml_collections
from absl import flags


class FlagError(ValueError):
  """A flag that cannot be used; the message is one line."""


def parse(
  argv: Sequence[str], values: flags.FlagValues = flags.FLAGS
) -> list[str]:
  """Reads the flags; returns what is none.

  Raises:
    FlagError: an unknown flag or config field, or a value that does not fit.
  """
  try:
    return values(argv)
  except flags.Error as error:
    raise FlagError(" ".join(str(error).split())) from error
  except AttributeError as error:
    # ml_collections quotes its message, which names the nearest field, twice.
    words = re.sub(r"[\\']", "", str(error).replace("\\n", ". "))
    raise FlagError(f"--config: no field {words}") from error


def config(value: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The flag's config.

  Raises:
    FlagError: its file is missing, or has no such variant.
  """
  try:
    value.keys()
  except OSError as error:  # raised by the first use of a missing config
    words = " ".join(str(error.__cause__ or error).split())
    raise FlagError(f"--config: {words}") from error
  return value
