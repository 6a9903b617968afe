"""The picture of goodput: what each moment of a run was spent on.

Shapes: n bars of one width, k kinds of time.
"""

import os

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ltu_jax.goodput import NAMES, Goodput

_BARS = 120

_COLORS = {
  "steps": "#1f5a96",
  "redone": "#c03b2b",
  "data": "#e0a030",
  "compile": "#7a5aa0",
  "startup": "#b5a3cf",
  "save": "#2e8b7a",
  "evaluate": "#8fc9a9",
  "profile": "#8c8c8c",
  "down": "#dddddd",
}

_UNITS = ((2 * 86400, 86400, "days"), (7200, 3600, "hours"), (120, 60, "min"))
"""From so many seconds on, so many seconds are one of these."""


def bars(found: Goodput, num: int = _BARS) -> tuple[np.ndarray, np.ndarray]:
  """What is in each of n equal parts of the time.

  Args:
    found: Of a run.
    num: n.

  Returns:
    Seconds since the start of each part and the end of the last, float
    [n + 1]; and shares, float [k, n], in the order of NAMES: columns sum up
    to 1.
  """
  start = found.spans[0].begin
  edges = np.linspace(0.0, found.wall, num + 1)
  seconds = np.zeros((len(NAMES), num))
  for span in found.spans:
    begin, end = span.begin - start, span.end - start
    if end <= begin:
      continue
    # A span's kinds are spread evenly over it.
    inside = np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin)
    inside = np.maximum(inside, 0.0) / (end - begin)
    kinds = np.array([span.seconds.get(kind, 0.0) for kind in NAMES])
    seconds += np.outer(kinds, inside)
  return edges, seconds / np.maximum(seconds.sum(0), 1e-12)


def draw(found: Goodput, path: str | os.PathLike) -> None:
  """Draws stacked bars over time.

  Args:
    found: Of a run.
    path: The PNG to write.
  """
  edges, shares = bars(found)
  unit, name = next(
    ((unit, name) for least, unit, name in _UNITS if found.wall >= least),
    (1, "seconds"),
  )
  # A figure of its own: a user's matplotlib backend plays no part.
  figure = Figure(figsize=(10, 4), dpi=110, layout="constrained")
  canvas = FigureCanvasAgg(figure)
  axes = figure.subplots()
  total, bottom = found.total(), np.zeros(len(edges) - 1)
  for kind, heights in zip(NAMES, shares, strict=True):
    if not total[kind] > 0:
      continue
    axes.bar(
      edges[:-1] / unit,
      100 * heights,
      np.diff(edges) / unit,
      100 * bottom,
      align="edge",
      color=_COLORS[kind],
      label=f"{NAMES[kind]} {100 * total[kind] / found.wall:.1f} %",
    )
    bottom += heights
  axes.set_xlim(0, edges[-1] / unit)
  axes.set_ylim(0, 100)
  axes.set_xlabel(f"{name} since the first start")
  axes.set_ylabel("% of the time")
  axes.set_title(f"goodput {100 * found.share:.1f} %", loc="left", fontsize=11)
  figure.legend(loc="outside right center", frameon=False, fontsize=9)
  axes.spines[["top", "right"]].set_visible(False)
  canvas.print_png(os.fspath(path))
