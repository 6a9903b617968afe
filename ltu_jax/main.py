"""python -m ltu_jax.main --config=configs/quickstart.py --workdir=runs/x."""

import re
import sys

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Config file; fields: --config.data.batch_size=64"
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder of the run; a run that stopped goes on in it."
)


def main(argv: list[str]) -> None:
  """Runs the config in the workdir."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}; flags start with --")
  # Orbax and TFDS say much that buries the progress lines.
  logging.set_verbosity(logging.WARNING)
  try:
    _CONFIG.value.keys()
  except OSError as error:  # raised by the first use of a missing config
    sys.exit(_fail(f"--config: {error.__cause__ or error}"))
  train_run(_CONFIG.value, _WORKDIR.value)


def train_run(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Trains; a user's error ends with its message alone and status 2."""
  from ltu_jax import train  # after the flags are read: a typo costs no seconds

  try:
    train.run(config, workdir)
  except train.USER_ERRORS as error:
    sys.exit(_fail(str(error)))


def _parse(argv: list[str]) -> list[str]:
  """Reads the flags; an unknown config field ends with one line, status 2."""
  try:
    return app.parse_flags_with_usage(argv)
  except AttributeError as error:
    # ml_collections quotes its message, which names the nearest field, twice.
    words = re.sub(r"[\\']", "", str(error).replace("\\n", ". "))
    sys.exit(_fail(f"--config: no field {words}"))


def _fail(message: str) -> int:
  """Prints a user's error; returns the exit status for it."""
  print(f"error: {message}", file=sys.stderr)
  return 2


def run() -> None:
  """Entry point: reads flags, then runs main."""
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main, flags_parser=_parse)


if __name__ == "__main__":
  run()
