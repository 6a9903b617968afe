"""All numbers of one set: metrics by protocol, and differences of checkpoints.

The table of the report has one number a set; here are the others.
"""

import dataclasses
from collections.abc import Sequence

from ltu_jax.evaluate.page import paired, words
from ltu_jax.evaluate.page.folders import Checkpoint, Run
from ltu_jax.evaluate.result import Metric


@dataclasses.dataclass(frozen=True)
class Value:
  """A number as it is shown; `value` is "" if there is none."""

  value: str = ""
  interval: str = ""
  deviation: str = ""
  count: str = ""
  note: str = ""


@dataclasses.dataclass(frozen=True)
class Line:
  """A metric by one protocol, with a value for each checkpoint."""

  metric: str
  protocol: str
  headline: bool
  chance: str
  values: Sequence[Value]


@dataclasses.dataclass(frozen=True)
class Gain:
  """How much better a checkpoint is than the first, on the same items."""

  name: str
  first: str
  points: str
  interval: str
  count: str
  beyond_chance: bool


def lines(runs: Sequence[tuple[Checkpoint, Run]]) -> list[Line]:
  """The metrics of a set in their order, those of all checkpoints."""
  keys = dict.fromkeys(
    (metric.name, metric.protocol)
    for _, run in runs
    for metric in run.result.metrics
  )
  return [_line(*key, runs) for key in keys]


def gains(runs: Sequence[tuple[Checkpoint, Run]]) -> list[Gain]:
  """Compares the headline number of each checkpoint with that of the first."""
  found = []
  for checkpoint, run in runs[1:]:
    gained = paired.difference(runs[0][1], run)
    if gained is not None:
      found.append(
        Gain(
          checkpoint.name,
          runs[0][0].name,
          words.points(gained.value),
          f"{words.points(gained.low)} to {words.points(gained.high)}",
          f"{gained.count:,}",
          gained.low > 0 or gained.high < 0,
        )
      )
  return found


def _line(
  name: str, protocol: str, runs: Sequence[tuple[Checkpoint, Run]]
) -> Line:
  """One metric by one protocol."""
  found = [
    next(
      (
        metric
        for metric in run.result.metrics
        if (metric.name, metric.protocol) == (name, protocol)
      ),
      None,
    )
    for _, run in runs
  ]
  chances = [m.chance for m in found if m and m.chance is not None]
  return Line(
    name,
    protocol,
    any(m.headline for m in found if m),
    words.percent(chances[0]) if chances else "",
    [_value(metric) for metric in found],
  )


def _value(metric: Metric | None) -> Value:
  """A number with all that belongs to it."""
  if metric is None:
    return Value(note="not measured")
  if metric.value is None:
    return Value(note=metric.note or "not defined")
  deviation = metric.deviation
  return Value(
    words.percent(metric.value),
    words.interval(metric.low, metric.high),
    "" if deviation is None else f"± {words.percent(deviation)}",
    f"{metric.count:,}" if metric.count else "",
    metric.note,
  )
