"""Reads --config, the flags of its fields and the others, with short errors."""

import re
from collections.abc import Sequence

import ml_collections
from absl import flags
from ml_collections import config_flags

from ltu_jax import config_file

# --config is among the flags of the command that asks for it.
flags.disclaim_key_flags()

_ERRORS = (
  flags.Error,
  AttributeError,
  LookupError,
  OSError,
  TypeError,
  ValueError,
)
"""What reading flags raises for a user's mistakes: ml_collections has an error
of its own for each way in which a path can lead nowhere."""

_IN_FILE = "Error whilst parsing config file"
"""How ml_collections begins an error of the file's own code, with its trace."""


class FlagError(ValueError):
  """Flags that cannot be used; the message has a line for each."""


def define(
  values: flags.FlagValues = flags.FLAGS, argv: Sequence[str] | None = None
) -> flags.FlagHolder[ml_collections.ConfigDict]:
  """Defines --config and the flags of its fields.

  Args:
    values: The flags to add it to.
    argv: Where the fields are looked for; None is the command line.
  """
  holder = config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file; fields: --config.data.batch_size=64",
    flag_values=values,
    sys_argv=argv,
  )
  flag = values["config"]
  flag.parser = config_file.Parser(runs=flag.parser)
  return holder


def file(values: flags.FlagValues = flags.FLAGS) -> str:
  """Returns the file that --config took, with its variant: "FILE:VARIANT"."""
  return values["config"].parser.taken


def parse(
  argv: Sequence[str], values: flags.FlagValues = flags.FLAGS
) -> list[str]:
  """Reads the flags; returns what is none.

  Raises:
    FlagError: an unknown flag or config field, or a value that does not fit; a
      line for each.
  """
  try:
    left = values(argv)
  except _ERRORS as error:
    if _IN_FILE in str(error):
      raise
    lines = _wrong_fields(argv)
    if isinstance(error, flags.Error) or not lines:
      lines = [_words(error, "--config"), *lines]
    raise FlagError("\n".join(dict.fromkeys(lines))) from error
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


def _words(error: Exception, name: str) -> str:
  """What is wrong with a flag, in one line."""
  if isinstance(error, OSError):  # raised by the first use of a missing config
    return f"--config: {' '.join(str(error.__cause__ or error).split())}"
  words = " ".join(str(error).split())
  if isinstance(error, flags.Error):
    return words
  # ml_collections quotes its message, which names the nearest field, twice.
  words = re.sub(r"[\\']", "", str(error).replace("\\n", ". "))
  if isinstance(error, AttributeError | KeyError):
    return f"{name}: no field {words}"
  return f"{name}: no such field ({words})"


def _wrong_fields(argv: Sequence[str]) -> list[str]:
  """What is wrong with each --config.x=y; absl stops at the first."""
  command, *rest = argv
  files = [arg for arg in rest if re.match("--?config=", arg)]
  fields = [arg for arg in rest if re.match(r"--?(no)?config\..*=", arg)]
  lines = []
  for field in fields:
    alone = [command, *files, field]
    values = flags.FlagValues()
    define(values, alone)
    try:
      values(alone)
    except _ERRORS as error:
      lines.append(_words(error, field.partition("=")[0]))
  return lines


def config(value: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """The flag's config.

  Raises:
    FlagError: its file is missing, or has no such variant.
  """
  try:
    value.keys()
  except OSError as error:
    raise FlagError(_words(error, "--config")) from error
  return value
