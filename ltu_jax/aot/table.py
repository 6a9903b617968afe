"""The table of docs/reproduce.md: stage 4 on slices that one can rent."""

import copy
import dataclasses
import runpy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from ltu_jax.aot import compile as compile_lib
from ltu_jax.aot import plans, report, suggest, topologies


@dataclasses.dataclass(frozen=True)
class Row:
  """A slice.

  Attributes:
    label: Google's name of it; v4 and v5p count two cores a chip.
    topology: the compiler's name.
    fields: config fields that differ, "model.llama.remat" -> value.
  """

  label: str
  topology: str
  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


ROWS = (
  Row("v5e-8", "v5e:2x4"),
  Row("v5e-16", "v5e:4x4"),
  Row("v4-8", "v4:2x2x1"),
  Row("v5p-8", "v5p:2x2x1"),
  Row("v6e-8", "v6e:2x4"),
  Row("v5e-1, int8", "v5e:1x1", {"model.llama.base_dtype": "int8"}),
)
"""Slices of the table."""


def load(
  config_file: str, variant: str, fields: Mapping[str, Any]
) -> ml_collections.ConfigDict:
  """Loads a variant of a config file and sets fields.

  Raises:
    OSError: no such file or variant.
  """
  config = runpy.run_path(config_file)["get_config"](variant)
  config.update_from_flattened_dict(fields)
  return config


def with_fields(
  config: ml_collections.ConfigDict, fields: Mapping[str, Any]
) -> ml_collections.ConfigDict:
  """A copy of the config with fields set."""
  config = copy.deepcopy(config)
  config.update_from_flattened_dict(fields)
  return config


def lines(
  configs: Mapping[str, ml_collections.ConfigDict],
  rows: Sequence[Row] = ROWS,
) -> Iterator[str]:
  """The table in Markdown, a line as soon as it is there.

  A step that does not fit is compiled again in more micro-batches.

  Args:
    configs: name of the model -> config; its last stage is compiled.
    rows: slices.
  """
  yield report.HEADER
  for name, config in configs.items():
    for row in rows:
      changed = with_fields(config, row.fields)
      plan = plans.plan_of(changed, topologies.parse(row.topology))
      result = compile_lib.train(plan)
      found = suggest.fewest_micro_batches(plan, result, compile_lib.train)
      yield report.row(row.label, name, *(found or (plan, result)))
