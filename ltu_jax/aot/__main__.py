"""python -m ltu_jax.aot --config=configs/stage4.py:7b --topology=v5e:4x4.

Compiles the training step of a config for a TPU on a machine without one, and
says what fits and how fast it can be at best. Needs the extra "aot", which
brings the TPU compiler. The table of docs/reproduce.md:

  python -m ltu_jax.aot --config=configs/stage4.py --table=7b,13b
"""

import sys

from absl import app, flags

from ltu_jax import config_flag, version


def define_flags(values: flags.FlagValues) -> None:
  """Defines the command's flags; another command has a --config too."""
  define = lambda kind, name, default, text: kind(
    name, default, text, flag_values=values
  )
  config_flag.define(values)
  define(flags.DEFINE_string, "topology", None, "Such as v5e:4x4.")
  define(flags.DEFINE_integer, "slices", 1, "Slices of that topology.")
  define(
    flags.DEFINE_string,
    "mesh",
    None,
    "Such as data1,fsdp16,tensor1; default: config.mesh.",
  )
  define(
    flags.DEFINE_integer, "batch", None, "Default: config.data.batch_size."
  )
  define(flags.DEFINE_integer, "stage", None, "Default: the config's last one.")
  define(
    flags.DEFINE_float,
    "row_questions",
    None,
    "Mean number of questions of a row, where the config packs several.",
  )
  define(flags.DEFINE_integer, "decode", None, "Also decode so many rows.")
  define(flags.DEFINE_bool, "json", False, "Print JSON.")
  define(
    flags.DEFINE_bool, "suggest", False, "Search for the fastest that fits."
  )
  define(
    flags.DEFINE_list,
    "table",
    None,
    "Print the table of docs/reproduce.md for these variants of the config.",
  )
  version.define_flag(values)


def _run(argv: list[str]) -> int:
  """Does what the flags say; returns the exit status."""
  from ltu_jax.aot import command  # imports JAX: a typo costs no seconds

  try:
    command.run(argv, flags.FLAGS)
  except command.USER_ERRORS as error:
    return _fail(error)
  return 0


def _fail(error: Exception) -> int:
  """Prints a user's error; returns the exit status for it."""
  print(f"error: {error}", file=sys.stderr)
  return 2


def main() -> None:
  """Entry point; a user's error ends with its message alone and status 2."""
  define_flags(flags.FLAGS)
  try:
    app.run(_run, flags_parser=config_flag.parse)
  except config_flag.FlagError as error:
    sys.exit(_fail(error))


if __name__ == "__main__":
  main()
