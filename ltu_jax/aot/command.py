"""Compiles for TPUs as the flags of __main__.py say; prints what came out."""

import dataclasses
import json
import sys

import jax
from absl import flags
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
"""What the user can mend, told in one line."""


def print_table(values: flags.FlagValues) -> None:
  """Prints the table of the variants of the config file."""
  config_file = config_flag.file(values)
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
    values.row_questions,
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
  config_flag.config(values.config)  # a file that is missing is told first
  if not values.table and not values.topology:
    raise config_flag.FlagError(
      "--topology is missing, such as --topology=v5e:4x4 (or --table=7b,13b)"
    )
  jax.config.update("jax_platforms", "cpu")
  if values.table:
    print_table(values)
  else:
    print_report(values)
