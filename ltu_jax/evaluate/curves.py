"""The picture of a run: loss and learning rate over all stages.

Shapes: n steps of a stage.
"""

import os
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from ltu_jax.losses import StageCurve

_WINDOW = 0.05
"""The smoothed loss is a running mean over so much of a stage."""

_NARROW = 0.08
"""Stages with a smaller share of all steps show only their number."""

_RAW, _SMOOTH, _RATE, _EDGE = "#b5cbe2", "#1f5a96", "#b3541e", "#999999"


def draw(curves: Sequence[StageCurve], path: str | os.PathLike) -> None:
  """Draws loss (raw and smoothed) above learning rate, stage after stage.

  Args:
    curves: The stages in order; those without steps are left out.
    path: The PNG to write.
  """
  curves = [curve for curve in curves if len(curve.step)]
  # A figure of its own: a user's matplotlib backend plays no part.
  figure = Figure(figsize=(11, 6.5), dpi=120, layout="constrained")
  canvas = FigureCanvasAgg(figure)
  losses, rates = figure.subplots(
    2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)}
  )
  start = 0
  for curve in curves:
    x, end = start + curve.step, start + int(curve.step[-1])
    losses.plot(x, curve.loss, color=_RAW, lw=0.8)
    losses.plot(x, smooth(curve.loss), color=_SMOOTH, lw=1.8)
    rates.plot(x, curve.rate, color=_RATE, lw=1.5)
    for axes in (losses, rates):
      axes.axvline(end, color=_EDGE, lw=0.8, ls="--")
    start = end
  losses.set_xlim(0, start)
  _name_stages(losses, curves, start)
  losses.legend(losses.lines[:2], ["each step", "running mean"])
  losses.set_ylabel("loss (nats per token)")
  # Logarithmic: later stages move little compared with the start of the first.
  losses.set_yscale("log")
  losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
  losses.yaxis.set_major_formatter("{x:g}")
  losses.yaxis.set_minor_locator(NullLocator())
  rates.set_ylabel("learning rate")
  rates.set_ylim(bottom=0)
  rates.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
  rates.set_xlabel("optimiser steps of all stages")
  for axes in (losses, rates):
    axes.grid(axis="y", color="#e6e6e6", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
  canvas.print_png(os.fspath(path))


def smooth(values: np.ndarray) -> np.ndarray:
  """Returns the running mean over a 20th of the values; NaN are left out.

  Args:
    values: Float [n] of one stage; the mean does not reach over its ends.

  Returns:
    Float [n].
  """
  half = max(1, round(_WINDOW * len(values) / 2))
  known = np.isfinite(values)
  box = np.ones(2 * half + 1)
  # "full" and cut, as "same" gives the longer of the two lengths.
  total = lambda v: np.convolve(v, box)[half : half + len(values)]
  count = total(known.astype(float))
  mean = total(np.where(known, values, 0.0)) / np.maximum(count, 1)
  return np.where(count > 0, mean, np.nan)


def _name_stages(axes: Axes, curves: Sequence[StageCurve], total: int) -> None:
  """Writes each stage's number and name above its steps."""
  start = 0
  for curve in curves:
    steps = int(curve.step[-1])
    # About 110 small letters fit the whole width.
    width = max(1, 110 * steps // total)
    name = textwrap.fill(
      curve.name, width, break_long_words=False, break_on_hyphens=False
    )
    is_narrow = steps / total < _NARROW
    axes.text(
      start + steps / 2,
      1.01,
      f"stage\n{curve.number}"
      if is_narrow
      else f"stage {curve.number}\n{name}",
      transform=axes.get_xaxis_transform(),
      ha="center",
      va="bottom",
      fontsize=8,
    )
    start += steps
