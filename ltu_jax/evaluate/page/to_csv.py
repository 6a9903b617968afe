"""The report as CSV: one line a checkpoint, set, metric and protocol."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from ltu_jax.evaluate.page import folders, paper, words
from ltu_jax.evaluate.page.folders import Checkpoint
from ltu_jax.evaluate.result import Result

COLUMNS = (
  *("checkpoint", "set", "title", "kind", "metric", "protocol", "headline"),
  *("value", "low", "high", "deviation", "chance", "count", "note"),
  *("ltu_7b", "ltu_13b", "total", "found", "unreadable", "items"),
  *("seconds", "made", "revision", "devices"),
)
"""Numbers are fractions as measured, those of LTU-7B and LTU-13B percent as
published; what is not known is empty."""


def render(checkpoints: Sequence[Checkpoint]) -> str:
  """Returns the text."""
  file = io.StringIO()
  writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
  writer.writeheader()
  writer.writerows(_rows(checkpoints))
  return file.getvalue()


def _rows(checkpoints: Sequence[Checkpoint]) -> Iterator[dict[str, Any]]:
  """The lines, checkpoint by checkpoint."""
  names = folders.set_names(checkpoints)
  for checkpoint in checkpoints:
    for name in names:
      if name in checkpoint.runs:
        result = checkpoint.runs[name].result
        yield from _of_result(checkpoint.name, name, result)


def _of_result(
  checkpoint: str, name: str, result: Result
) -> Iterator[dict[str, Any]]:
  """The lines of one result."""
  published = next(
    (row.published for row in paper.ROWS if row.set == name), result.published
  )
  data = {
    key: words.amount(result.data.get(key))
    for key in ("total", "found", "unreadable", "items")
  }
  for metric in result.metrics:
    of_paper = published if metric.headline else {}
    yield {
      "checkpoint": checkpoint,
      "set": name,
      "title": result.title,
      "kind": result.kind,
      "metric": metric.name,
      "protocol": metric.protocol,
      "headline": int(metric.headline),
      "value": metric.value,
      "low": metric.low,
      "high": metric.high,
      "deviation": metric.deviation,
      "chance": metric.chance,
      "count": metric.count,
      "note": metric.note,
      "ltu_7b": of_paper.get("LTU-7B"),
      "ltu_13b": of_paper.get("LTU-13B"),
      **data,
      "seconds": result.seconds,
      "made": result.made,
      "revision": result.revision,
      "devices": result.devices,
    }
