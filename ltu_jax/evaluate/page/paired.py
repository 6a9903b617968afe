"""The difference of two checkpoints on the items that both were asked about.

Both answer the same clips, so the difference is surer than two intervals tell.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from ltu_jax.evaluate.page.folders import Run
from ltu_jax.evaluate.result import ItemResult, Metric

_RESAMPLES, _SEED = 2000, 0

_BLOCK = 1 << 22
"""Numbers drawn at once."""

# A result's metric is the mean of its items' scores, or is not: sums in another
# order differ by 1e-12, and the smallest true difference, that of one item in
# 20,000, is 5e-5.
_SAME = 1e-6


@dataclasses.dataclass(frozen=True)
class Paired:
  """A difference of means.

  Attributes:
    value: Of the second less the first, as a fraction.
    low: Lower end of the 95 % bootstrap interval over items.
    high: Upper end.
    count: Common items.
  """

  value: float
  low: float
  high: float
  count: int


def score(item: ItemResult, metric: Metric | None) -> float | None:
  """How good an answer is by a metric's protocol; None if it was not scored."""
  scores = item.score
  if not scores:
    return None
  for key in (metric.protocol, metric.name) if metric else ():
    if key in scores:
      return scores[key]
  return next(iter(scores.values()))


def difference(first: Run, second: Run) -> Paired | None:
  """Compares the headline numbers of two results of one set.

  Returns:
    The difference; None where a number is not the mean of its items' scores
    (such as mAP), or nothing is common.
  """
  before, after = _scores(first), _scores(second)
  if before is None or after is None:
    return None
  common = [key for key in before if key in after]
  if not common:
    return None
  gained = np.array([after[key] - before[key] for key in common])
  low, high = _interval(gained)
  return Paired(float(gained.mean()), low, high, len(common))


def _scores(run: Run) -> Mapping[str, float] | None:
  """Scores by item, if the headline number is their mean."""
  metric = run.result.headline
  if metric is None or metric.value is None or not run.items:
    return None
  known = {x.id: score(x, metric) for x in run.items}
  scored = {key: x for key, x in known.items() if x is not None}
  # An item without an answer is left out, or counts as wrong.
  for scores in (scored, {key: x or 0.0 for key, x in known.items()}):
    values = list(scores.values())
    if values and abs(np.mean(values) - metric.value) < _SAME:
      return scores
  return None


def _interval(values: np.ndarray) -> tuple[float, float]:
  """The 95 % bootstrap interval of a mean, always the same one."""
  random = np.random.default_rng(_SEED)
  rows = max(1, _BLOCK // len(values))
  means = []
  for start in range(0, _RESAMPLES, rows):
    size = (min(rows, _RESAMPLES - start), len(values))
    means.append(values[random.integers(len(values), size=size)].mean(1))
  low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
  return float(low), float(high)
