"""Curves as plain values for the page: places in percent of a square.

Pictures are drawn by the template as SVG with the page's own colours, so that
they can be read in light and dark, and scale with the page.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]
"""x and y, in order of x."""


@dataclasses.dataclass(frozen=True)
class Tick:
  """A mark of an axis.

  Attributes:
    at: Place in percent, from the left or from the top.
    text: What stands there.
  """

  at: float
  text: str


@dataclasses.dataclass(frozen=True)
class Line:
  """One curve.

  Attributes:
    name: What it is of.
    points: `x,y x,y ...` in percent from the left and the top.
    filled: Whether what is below is filled.
  """

  name: str
  points: str
  filled: bool


@dataclasses.dataclass(frozen=True)
class Chart:
  """A picture of curves.

  Attributes:
    title: What it shows.
    x: Name of the axis below.
    y: Name of the axis at the left.
    lines: The curves; the first has the first colour, and so on.
    x_ticks: Marks below.
    y_ticks: Marks at the left, with a line across.
    words: The same in words, for those who do not see it.
  """

  title: str
  x: str
  y: str
  lines: tuple[Line, ...]
  x_ticks: tuple[Tick, ...]
  y_ticks: tuple[Tick, ...]
  words: str


def histogram(
  title: str, x: str, counts: Mapping[str, Sequence[int]], words: str
) -> Chart | None:
  """Draws how many texts have 0, 1, 2, ... words, in percent of each kind.

  Args:
    title: Of the picture.
    x: Name of the axis below.
    counts: By kind of text, the number of texts by length.
    words: The picture in words.

  Returns:
    The picture, None without any text. The longest 0.5 % are cut off.
  """
  counts = {name: list(all_) for name, all_ in counts.items() if sum(all_)}
  if not counts:
    return None
  most = max(_cut(all_) for all_ in counts.values()) + 1
  shares = {
    name: [100 * count / sum(all_) for count in all_[:most]]
    for name, all_ in counts.items()
  }
  top = max(max(values) for values in shares.values())
  y_ticks = nice_ticks(top)
  top = max(top, y_ticks[-1])
  lines = []
  for name, values in shares.items():
    # Bars that touch: two points a bar.
    values = values + [0.0] * (most - len(values))
    corners = [
      (i + end, value) for i, value in enumerate(values) for end in (0, 1)
    ]
    points = _join((100 * a / most, 100 - 100 * b / top) for a, b in corners)
    lines.append(Line(name, f"0,100 {points} 100,100", True))
  return Chart(
    title,
    x,
    "% of texts",
    tuple(lines),
    # A mark stands under the middle of its bar.
    tuple(
      Tick(100 * (n + 0.5) / most, f"{n:g}")
      for n in nice_ticks(most - 1)
      if n == int(n)
    ),
    tuple(Tick(100 - 100 * n / top, f"{n:g}") for n in y_ticks),
    words,
  )


def curve(
  title: str, x: str, y: str, all_points: Mapping[str, Points], words: str
) -> Chart | None:
  """Draws curves with logarithmic axes.

  Args:
    title: Of the picture.
    x: Name of the axis below.
    y: Name of the axis at the left.
    all_points: By name of the curve, points of 1 and more.
    words: The picture in words.

  Returns:
    The picture, None if no curve has two points.
  """
  all_points = {
    n: points for n, points in all_points.items() if len(points) > 1
  }
  if not all_points:
    return None
  flat = [point for points in all_points.values() for point in points]
  ends = [
    (10 ** math.floor(math.log10(min(values))), max(values))
    for values in zip(*flat, strict=True)
  ]
  place = lambda axis, value: (
    100
    * math.log(value / ends[axis][0])
    / (math.log(ends[axis][1] / ends[axis][0]) or 1)
  )
  lines = tuple(
    Line(
      name, _join((place(0, a), 100 - place(1, b)) for a, b in points), False
    )
    for name, points in all_points.items()
  )
  ticks = [
    [(place(axis, n), compact(n)) for n in _powers(*ends[axis])]
    for axis in (0, 1)
  ]
  return Chart(
    title,
    x,
    y,
    tuple(lines),
    tuple(Tick(at, text) for at, text in ticks[0]),
    tuple(Tick(100 - at, text) for at, text in ticks[1]),
    words,
  )


def nice_ticks(top: float) -> list[float]:
  """Returns three to six round numbers from 0 on, the last at `top` or below.

  Of a `top` that is not positive, only 0.
  """
  if top <= 0:
    return [0.0]
  rough = top / 5
  power = 10.0 ** math.floor(math.log10(rough))
  step = next(
    power * n for n in (1, 2, 2.5, 5, 10) if power * n >= rough * 0.999
  )
  return [round(step * n, 10) for n in range(int(top / step * 1.0001) + 1)]


def compact(number: float) -> str:
  """Returns a round number in few letters: 20000 is `20k`."""
  for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
    if number >= size:
      return f"{number / size:g}{letter}"
  return f"{number:g}"


def _powers(low: float, high: float) -> list[float]:
  """Powers of ten from `low` on, with what is between if they are few."""
  count = math.floor(math.log10(high / low) * 1.000001) + 1
  steps = (1,) if count > 2 else (1, 2, 5)
  return [
    low * 10**power * step
    for power in range(count)
    for step in steps
    if low * 10**power * step <= high * 1.000001
  ]


def _cut(counts: Sequence[int]) -> int:
  """The length that 99.5 % of the texts do not surpass."""
  below, total = 0, sum(counts)
  for length, count in enumerate(counts):
    below += count
    if below >= 0.995 * total:
      return length
  return len(counts) - 1


def _join(points) -> str:
  """Points as SVG has them."""
  return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
