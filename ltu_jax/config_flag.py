"""Reads --config, the flags of its fields and the others, with short errors."""

import re
import traceback
from collections.abc import Sequence

import ml_collections
from absl import flags
from ml_collections.config_flags import config_path


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
    left = values(argv)
  except flags.Error as error:
    raise FlagError(" ".join(str(error).split())) from error
  except AttributeError as error:
    # ml_collections quotes its message, which names the nearest field, twice.
    words = re.sub(r"[\\']", "", str(error).replace("\\n", ". "))
    raise FlagError(f"--config: no field {words}") from error
  except (LookupError, TypeError, ValueError) as error:
    if not _is_about_a_name(error):  # an error in a config file is told whole
      raise
    words = " ".join(str(error.args[0]).split())
    raise FlagError(f"--config: a flag names no field: {words}") from error
  for name in values:
    # ml_collections would put any other fields in their place.
    if "." in name and isinstance(
      values[name].value, ml_collections.ConfigDict
    ):
      raise FlagError(
        f"--{name}: these are several fields; set each of them, as"
        f" --{name}.FIELD=VALUE"
      )
  return left


def _is_about_a_name(error: Exception) -> bool:
  """Whether it comes from looking up what a flag is called by."""
  frames = traceback.extract_tb(error.__traceback__)
  return any(frame.filename == config_path.__file__ for frame in frames)


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
