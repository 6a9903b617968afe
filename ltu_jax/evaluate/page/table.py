"""The report's table: sets by checkpoints, beside the published numbers."""

import dataclasses
from collections.abc import Sequence

from ltu_jax.evaluate.page import folders, paper, words
from ltu_jax.evaluate.page.comparing import Difference
from ltu_jax.evaluate.page.folders import Checkpoint, Run
from ltu_jax.evaluate.page.paper import Row
from ltu_jax.evaluate.result import Metric, Result
from ltu_jax.evaluate.sets.spec import OPEN


@dataclasses.dataclass(frozen=True)
class Cell:
  """A number of the table as it is shown.

  Attributes:
    metric: The number itself; None if there is none.
    value: In percent; "" if there is none.
    interval: "81.4 to 84.7", or "".
    difference: To LTU-7B in points, or "".
    asked: "on 1,998 of 2,000".
    reason: Why there is no value.
    notes: Numbers of the notes below the table.
  """

  metric: Metric | None = None
  value: str = ""
  interval: str = ""
  difference: str = ""
  asked: str = ""
  reason: str = ""
  notes: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class Line:
  """A row of the table.

  Attributes:
    set: Name of the set, MEAN for the mean.
    title: For people.
    metric: What is measured.
    published: In the order of paper.MODELS; "" where there is none.
    cells: In the order of the checkpoints.
    has_section: Whether there is a result to tell more about.
  """

  set: str
  title: str
  metric: str
  published: Sequence[str]
  cells: Sequence[Cell]
  has_section: bool


@dataclasses.dataclass(frozen=True)
class Table:
  """The table and what is said below it."""

  checkpoints: Sequence[str]
  lines: Sequence[Line]
  notes: Sequence[str]


def make(
  checkpoints: Sequence[Checkpoint], differences: Sequence[Difference]
) -> Table:
  """Makes the table.

  Args:
    checkpoints: In the order of the columns.
    differences: Those that are allowed, for a note at the numbers.
  """
  notes = _Notes()
  rows = list(paper.ROWS)
  known = {row.set for row in rows}
  for name in folders.set_names(checkpoints):
    if name not in known:
      rows.append(_other_row(folders.with_set(checkpoints, name)[0][1].result))
  differing = {d.set for d in differences}
  lines = [_line(row, checkpoints, differing, notes) for row in rows]
  return Table([c.name for c in checkpoints], lines, notes.texts)


class _Notes:
  """Numbers notes, those with the same text alike."""

  def __init__(self):
    self.texts: list[str] = []

  def number(self, text: str) -> int:
    """The number of a note, from 1 on."""
    if text not in self.texts:
      self.texts.append(text)
    return self.texts.index(text) + 1


def _other_row(result: Result) -> Row:
  """The row of a set that is not in the paper."""
  headline = result.headline
  metric = headline.name if headline else ""
  return Row(result.set, result.title, metric, result.published)


def _line(
  row: Row,
  checkpoints: Sequence[Checkpoint],
  differing: set[str],
  notes: _Notes,
) -> Line:
  """One row."""
  if row.set == paper.MEAN:
    cells = [_mean_cell(row, checkpoint, notes) for checkpoint in checkpoints]
  else:
    cells = [
      _cell(row, checkpoint.runs.get(row.set), differing, notes)
      for checkpoint in checkpoints
    ]
  published = [
    f"{row.published[model]:.1f}" if model in row.published else ""
    for model in paper.MODELS
  ]
  has_section = any(row.set in c.runs for c in checkpoints)
  return Line(row.set, row.title, row.metric, published, cells, has_section)


def _cell(
  row: Row, run: Run | None, differing: set[str], notes: _Notes
) -> Cell:
  """The headline number of a set."""
  if run is None:
    return Cell(reason="no result")
  result, metric = run.result, run.result.headline
  asked = words.asked(result.data)
  if metric is None:
    return Cell(reason=f"{row.metric} was not measured", asked=asked)
  if metric.value is None:
    return Cell(reason=metric.note or "not defined", asked=asked)
  texts = [metric.note] if metric.note else []
  texts += _unlike_the_paper(row, result)
  if row.set in differing:
    texts.append(
      "These checkpoints were not evaluated alike: see the differences above."
    )
  return Cell(
    metric,
    words.percent(metric.value),
    words.interval(metric.low, metric.high),
    _to_paper(row, metric.value),
    asked,
    notes=[notes.number(text) for text in texts],
  )


def _unlike_the_paper(row: Row, result: Result) -> list[str]:
  """Why a number is not measured as the published one was."""
  if result.kind == OPEN and row.published:
    return [paper.OPEN_ENDED]
  protocol = result.headline.protocol
  if row.averaged and protocol != paper.PROTOCOL:
    return [
      f"Scored by the protocol {protocol or 'of the set'}, which is not that of"
      " the published numbers."
    ]
  embedder = result.settings.get("embedder")
  if not row.averaged or not embedder or paper.EMBEDDER in str(embedder):
    return []
  return [
    f"Scored with the text embedder {words.shown(embedder)}; the published"
    f" numbers were scored with {paper.EMBEDDER}, and may differ for this"
    " alone."
  ]


def _mean_cell(row: Row, checkpoint: Checkpoint, notes: _Notes) -> Cell:
  """The mean over the sets of classification, if all are there."""
  averaged = [row for row in paper.ROWS if row.averaged]
  runs = {row.title: checkpoint.runs.get(row.set) for row in averaged}
  headlines = {
    title: run and run.result.headline for title, run in runs.items()
  }
  missing = [t for t, m in headlines.items() if m is None or m.value is None]
  if missing:
    return Cell(
      reason=f"{len(averaged) - len(missing)} of {len(averaged)} sets; without "
      + ", ".join(missing)
    )
  value = sum(m.value for m in headlines.values()) / len(averaged)
  metric = Metric("mean", value, count=len(averaged), headline=True)
  texts = [paper.ABLATIONS]
  for row_of, run in zip(averaged, runs.values(), strict=True):
    texts += _unlike_the_paper(row_of, run.result)
  return Cell(
    metric,
    words.percent(value),
    difference=_to_paper(row, value),
    asked=f"over {len(averaged)} sets",
    notes=sorted({notes.number(text) for text in texts}),
  )


def _to_paper(row: Row, value: float) -> str:
  """The difference to the first published model."""
  published = row.published.get(paper.MODELS[0])
  return "" if published is None else words.signed(100 * value - published)
