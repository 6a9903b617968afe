"""Reads --config, the flags of its fields and the others, with short errors."""

import re
from collections.abc import Sequence

import ml_collections
from absl import flags
from ml_collections import config_flags

_ERRORS = (flags.Error, AttributeError, OSError)
"""What reading flags raises for a user's mistakes."""


class FlagError(ValueError):
  """Flags that cannot be used; the message has a line for each."""


def parse(
  argv: Sequence[str], values: flags.FlagValues = flags.FLAGS
) -> list[str]:
  """Reads the flags; returns what is none.

  Raises:
    FlagError: an unknown flag or config field, or a value that does not fit; a
      line for each.
  """
  try:
    return values(argv)
  except _ERRORS as error:
    lines = [_words(error), *_wrong_fields(argv)]
    raise FlagError("\n".join(dict.fromkeys(lines))) from error


def _words(error: Exception) -> str:
  """What is wrong, in one line."""
  if isinstance(error, AttributeError):
    # ml_collections quotes its message, which names the nearest field, twice.
    words = re.sub(r"[\\']", "", str(error).replace("\\n", ". "))
    return f"--config: no field {words}"
  if isinstance(error, OSError):  # raised by the first use of a missing config
    error = error.__cause__ or error
    return f"--config: {' '.join(str(error).split())}"
  return " ".join(str(error).split())


def _wrong_fields(argv: Sequence[str]) -> list[str]:
  """What is wrong with each --config.x=y; absl stops at the first."""
  command, *rest = argv
  files = [arg for arg in rest if re.match("--?config=", arg)]
  fields = [arg for arg in rest if re.match(r"--?(no)?config\.[^=]+=", arg)]
  lines = []
  for field in fields:
    alone = [command, *files, field]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file(
      "config", flag_values=values, sys_argv=alone
    )
    try:
      values(alone)
    except _ERRORS as error:
      lines.append(_words(error))
  return lines


def config(value: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The flag's config.

  Raises:
    FlagError: its file is missing, or has no such variant.
  """
  try:
    value.keys()
  except OSError as error:
    raise FlagError(_words(error)) from error
  return value
