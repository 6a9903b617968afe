"""python -m ltu_jax.main --config=configs/quickstart.py --workdir=runs/x."""

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
  train_run(_CONFIG.value, _WORKDIR.value)


def train_run(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Trains; a user's error ends with its message alone and status 2."""
  from ltu_jax import train  # after the flags are read: a typo costs no seconds

  try:
    train.run(config, workdir)
  except train.USER_ERRORS as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def run() -> None:
  """Entry point: reads flags, then runs main."""
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(main)


if __name__ == "__main__":
  run()
