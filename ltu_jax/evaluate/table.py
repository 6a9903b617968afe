"""Results as a table for the terminal."""

from collections.abc import Sequence

from ltu_jax.evaluate import markdown
from ltu_jax.evaluate.result import Metric, Result

_HEAD = ("set", "measure", "%", "95 %", "of", "chance", "LTU-7B")


def render(results: Sequence[Result]) -> str:
  """Returns all numbers in percent; below, why some are not there.

  Args:
    results: Of one model.
  """
  rows, notes = [], []
  for result in results:
    for metric in result.metrics:
      if metric.value is None:
        notes.append(f"{result.title}, {metric.name}: {metric.note}")
      else:
        rows.append(_row(result, metric))
  parts = [markdown.table(_HEAD, rows)] if rows else []
  return "\n\n".join([*parts, *notes])


def _row(result: Result, metric: Metric) -> tuple[str, ...]:
  """A number with what it has to be seen beside."""
  name = metric.name + f" ({metric.protocol})" * bool(metric.protocol)
  value = _percent(metric.value)
  if metric.deviation is not None:
    value += f" +- {_percent(metric.deviation)}"
  interval = ""
  if metric.low is not None and metric.high is not None:
    interval = f"{_percent(metric.low)}-{_percent(metric.high)}"
  published = result.published.get("LTU-7B") if metric.headline else None
  return (
    result.title,
    name,
    value,
    interval,
    f"{metric.count:,}",
    "" if metric.chance is None else _percent(metric.chance),
    "" if published is None else f"{published:.1f}",
  )


def _percent(value: float) -> str:
  """A fraction in percent."""
  return f"{100 * value:.1f}"
