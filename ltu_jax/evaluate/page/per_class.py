"""Numbers by class: bars in their order, confusions as a table or as pairs."""

import dataclasses
from collections.abc import Sequence

from ltu_jax.evaluate.page import words
from ltu_jax.evaluate.result import Classes, Metric

_MOST_BARS = 60
"""Classes of which all have a bar; of more, the ends have."""

_END_BARS = 15

_ONE_COLUMN = 20
"""Classes whose bars are below each other; of more, half are beside them."""

_MOST_CELLS = 50
"""Classes of a confusion matrix that can be read."""

_MOST_LARGE = 16
"""Classes of a matrix whose cells can be large."""

_PAIRS = 20

_SHADES = 9
"""Steps from no item of a class to all of them, as in style.css."""


@dataclasses.dataclass(frozen=True)
class Bar:
  """A class with its number; `share` is in percent, for the length."""

  label: str
  count: str
  value: str
  share: str


@dataclasses.dataclass(frozen=True)
class Chart:
  """Numbers of all classes, the best first.

  Attributes:
    title: What the numbers are.
    columns: (heading, bars) beside each other; of many classes those of the
      best and of the worst.
    all: Of many classes, every one.
    curve: Of many classes, points of a line over all of them, for an SVG of
      100 x 100; "" otherwise.
    none: Classes without items.
  """

  title: str
  columns: Sequence[tuple[str, Sequence[Bar]]]
  all: Sequence[Bar]
  curve: str
  none: Sequence[str]


@dataclasses.dataclass(frozen=True)
class MatrixRow:
  """A class's items by what was said: (number, shade 0 to 9, what it is)."""

  label: str
  cells: Sequence[tuple[str, int, str]]


@dataclasses.dataclass(frozen=True)
class Confusion:
  """What was said of items of each class, by one protocol.

  Attributes:
    protocol: How answers were taken for classes.
    said: Labels of the columns.
    rows: Of the matrix; none of a set with many classes.
    fine: Whether its cells have to be small.
    pairs: (truth, said, number, of all) of those most confused.
  """

  protocol: str
  said: Sequence[str]
  rows: Sequence[MatrixRow]
  fine: bool
  pairs: Sequence[tuple[str, str, str, str]]


def charts(classes: Classes | None, headline: Metric | None) -> list[Chart]:
  """The charts of a result, that of the headline's protocol first."""
  if classes is None:
    return []
  first = headline.protocol if headline else ""
  if classes.average_precision:
    values = classes.average_precision
    name = "Average precision by class"
  else:
    values = {
      protocol: _recall(matrix)
      for protocol, matrix in classes.confusion.items()
    }
    name = "Share of right answers by class"
  protocols = sorted(values, key=lambda x: x != first)
  return [
    _chart(name + _by(protocol), classes, values[protocol])
    for protocol in protocols
  ]


def confusions(
  classes: Classes | None, headline: Metric | None
) -> list[Confusion]:
  """The confusions of a result, those of the headline's protocol first."""
  if classes is None:
    return []
  first = headline.protocol if headline else ""
  protocols = sorted(classes.confusion, key=lambda x: x != first)
  return [
    _confusion(protocol, classes.labels, classes.confusion[protocol])
    for protocol in protocols
  ]


def _by(protocol: str) -> str:
  """Names a protocol in a title."""
  return f", {protocol}" if protocol else ""


def _recall(matrix: Sequence[Sequence[int]]) -> list[float | None]:
  """The share of right answers to items of each class."""
  return [
    row[place] / sum(row) if sum(row) else None
    for place, row in enumerate(matrix)
  ]


def _chart(
  title: str, classes: Classes, values: Sequence[float | None]
) -> Chart:
  """One chart."""
  rows = list(zip(classes.labels, classes.count, values, strict=True))
  none = [label for label, _, value in rows if value is None]
  known = [row for row in rows if row[2] is not None]
  known.sort(key=lambda row: (-row[2], row[0]))
  bars = [
    Bar(label, f"{count:,}", words.percent(value), f"{100 * value:.2f}")
    for label, count, value in known
  ]
  if len(bars) <= _ONE_COLUMN:
    return Chart(title, [("", bars)], (), "", none)
  if len(bars) <= _MOST_BARS:
    half = (len(bars) + 1) // 2
    return Chart(title, [("", bars[:half]), ("", bars[half:])], (), "", none)
  curve = " ".join(
    f"{100 * place / (len(known) - 1):.2f},{100 - 100 * value:.2f}"
    for place, (_, _, value) in enumerate(known)
  )
  ends = [("Best", bars[:_END_BARS]), ("Worst", bars[-_END_BARS:])]
  return Chart(title, ends, bars, curve, none)


def _confusion(
  protocol: str, labels: Sequence[str], matrix: Sequence[Sequence[int]]
) -> Confusion:
  """The confusions of one protocol."""
  columns = max(map(len, matrix), default=0)
  # What was taken for none of the classes may have a column of its own.
  said = [*labels, *["none of them"] * (columns - len(labels))]
  rows = []
  if len(labels) <= _MOST_CELLS:
    rows = [
      MatrixRow(label, _cells(label, said, row))
      for label, row in zip(labels, matrix, strict=True)
    ]
  fine = len(said) > _MOST_LARGE
  return Confusion(protocol, said, rows, fine, _pairs(said, matrix))


def _cells(
  label: str, said: Sequence[str], row: Sequence[int]
) -> list[tuple[str, int, str]]:
  """The cells of one row."""
  total = sum(row)
  return [
    (
      f"{count:,}",
      # Rounded up: one item can be seen.
      -(-_SHADES * count // total),
      f"{label} taken for {said[place]}: {count:,} of {total:,}",
    )
    if count
    else ("", 0, "")
    for place, count in enumerate(row)
  ]


def _pairs(
  said: Sequence[str], matrix: Sequence[Sequence[int]]
) -> list[tuple[str, str, str, str]]:
  """Those most confused."""
  wrong = [
    (count, truth, place, sum(row))
    for truth, row in enumerate(matrix)
    for place, count in enumerate(row)
    if count and place != truth
  ]
  wrong.sort(key=lambda x: (-x[0], x[1], x[2]))
  return [
    (said[truth], said[place], f"{count:,}", f"{total:,}")
    for count, truth, place, total in wrong[:_PAIRS]
  ]
