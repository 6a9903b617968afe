"""Numbers with their bootstrap intervals over items."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ltu_jax.evaluate import bootstrap
from ltu_jax.evaluate.result import Metric
from ltu_jax.evaluate.settings import Settings

Statistics = Callable[[np.ndarray], np.ndarray]
"""From draws [R, N] to the number of each, [R]; see bootstrap.py."""


def draws(items: int, settings: Settings) -> np.ndarray | None:
  """Draws of items, the same for all numbers of a set; see `bootstrap.draw`.

  Args:
    items: How many there are.
    settings: How many draws, and their seed.

  Returns:
    None if no intervals are wanted.
  """
  if not settings.draws:
    return None
  return _draws(items, settings.draws, settings.seed)


@functools.lru_cache(maxsize=4)
def _draws(items: int, count: int, seed: int) -> np.ndarray:
  return bootstrap.draw(items, count, seed)


def metric(
  name: str,
  value: float,
  drawn: np.ndarray | None,
  statistics: Statistics,
  **more: Any,
) -> Metric:
  """Makes a metric with its interval.

  Args:
    name: What is measured.
    value: The number.
    drawn: From `draws`; None leaves the interval out.
    statistics: The number of each draw.
    **more: Other fields of Metric.
  """
  low, high = None, None
  if drawn is not None:
    low, high = bootstrap.interval(statistics(drawn))
  return Metric(name, float(value), low=low, high=high, **more)


def mean(
  name: str,
  values: Sequence[float],
  drawn: np.ndarray | None,
  **more: Any,
) -> Metric:
  """Makes a metric that is a mean over items.

  Args:
    name: What is measured.
    values: [N], at least one.
    drawn: From `draws`.
    **more: Other fields of Metric.
  """
  values = np.asarray(values, np.float64)
  return metric(
    name,
    values.mean(),
    drawn,
    lambda d: bootstrap.of_mean(values, d),
    count=len(values),
    **more,
  )
