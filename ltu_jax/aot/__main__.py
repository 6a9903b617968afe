"""python -m ltu_jax.aot --config=configs/stage4.py:7b --topology=v5e:4x4.

Compiles the training step of a config for a TPU on a machine without one, and
says what fits and how fast it can be at best. Needs pip install -e '.[aot]',
which brings the TPU compiler. The table of docs/reproduce.md:

  python -m ltu_jax.aot --config=configs/stage4.py --table=7b,13b
"""

import dataclasses
import json
import os
import sys

import jax
from absl import app, flags
from ml_collections import config_flags

from ltu_jax import config as config_lib
from ltu_jax import config_flag
from ltu_jax.aot import compile as compile_lib
from ltu_jax.aot import plans, report, suggest, table, topologies
from ltu_jax.sharding import ShardingError
from ltu_jax.train_state import PartitionError

USER_ERRORS = (
  compile_lib.PlanError,
  config_flag.FlagError,
  config_lib.ConfigError,
  topologies.TopologyError,
  ShardingError,
  PartitionError,
)


def define_flags(values: flags.FlagValues) -> None:
  """Defines the command's flags; another command has a --config too."""
  define = lambda kind, name, default, text: kind(
    name, default, text, flag_values=values
  )
  define(
    config_flags.DEFINE_config_file,
    "config",
    None,
    "Config file; fields: --config.data.batch_size=64",
  )
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


def print_table(values: flags.FlagValues) -> None:
  """Prints the table of the variants of the config file."""
  config_file = config_flags.get_config_filename(values["config"])
  fields = config_flags.get_override_values(values["config"])
  try:
    configs = {
      name.upper(): table.load(config_file.split(":")[0], name, fields)
      for name in values.table
    }
  except OSError as error:
    raise config_flag.FlagError(f"--table: {error}") from error
  for line in table.lines(configs):
    print(line, flush=True)


def print_report(values: flags.FlagValues) -> None:
  """Compiles for one topology and prints what came out."""
  plan = plans.plan_of(
    config_flag.config(values.config),
    topologies.parse(values.topology, values.slices),
    values.mesh,
    values.batch,
    values.stage,
  )
  if values.suggest:
    plan, result = suggest.search(
      plan, lambda line: print(line, file=sys.stderr, flush=True)
    )
  else:
    result = compile_lib.train(plan)
  data, text = report.as_json(plan, result), report.text(plan, result)
  if not result.fits:
    data["would_fit"] = suggest.would_fit(plan, result)
    text += "\n  would fit (compiled; --suggest finds the fastest):"
    for line in data["would_fit"] or ["more chips"]:
      text += f"\n    {line}"
  if values.decode is not None:
    decoded = compile_lib.decode(plan, values.decode)
    data["decode"] = dataclasses.asdict(decoded) | {"fits": decoded.fits}
    text += f"\ndecoding {values.decode} rows\n" + report.memory_line(decoded)
  print(json.dumps(data, indent=2) if values.json else text)


def run(argv: list[str], values: flags.FlagValues) -> None:
  """Does what the flags say.

  Raises:
    USER_ERRORS: one line that says what to change.
  """
  if len(argv) > 1:
    raise config_flag.FlagError(
      f"unknown arguments {argv[1:]}; flags start with --"
    )
  if values.config is None:
    raise config_flag.FlagError(
      "--config is missing, such as --config=configs/stage4.py:7b"
    )
  if not values.table and not values.topology:
    raise config_flag.FlagError(
      "--topology is missing, such as --topology=v5e:4x4 (or --table=7b,13b)"
    )
  # The compiler is to look for no TPU, and nothing runs on one: so others may
  # compile at the same time.
  jax.config.update("jax_platforms", "cpu")
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  if values.table:
    print_table(values)
  else:
    print_report(values)


def main() -> None:
  """Entry point; a user's error ends with its message alone and status 2."""
  define_flags(flags.FLAGS)
  try:
    app.run(lambda argv: run(argv, flags.FLAGS), flags_parser=config_flag.parse)
  except USER_ERRORS as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  main()
