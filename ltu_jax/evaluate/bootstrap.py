"""How far a number would be off with other items: the bootstrap over items.

Items are drawn with replacement, as many as there are, again and again; the
number is computed of each draw, and the middle 95 % of what comes out is the
interval. B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993.

A draw is kept as how often each item is in it. So a measure of a draw is the
same measure of the items with these numbers as weights, and scores are sorted
once for all draws.

Axis letters: R draws, N items, C classes, P positives of a class.
"""

import numpy as np
from scipy import sparse

from ltu_jax.evaluate import measures

DRAWS, SEED = 1000, 0
"""Enough for two digits of an interval's ends; the seed makes it repeatable."""


def draw(items: int, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
  """Draws items.

  Args:
    items: N, at least one.
    draws: R.
    seed: The same seed, N and R give the same draws.

  Returns:
    float32 [R, N]: how often an item is in a draw; rows add up to N.
  """
  rng = np.random.default_rng(seed)
  counts = np.empty((draws, items), np.float32)
  for row in counts:
    row[:] = np.bincount(rng.integers(0, items, items), minlength=items)
  return counts


def interval(statistics: np.ndarray) -> tuple[float, float]:
  """The middle 95 % of a number over draws [R]: its lower and upper end."""
  low, high = np.percentile(statistics, [2.5, 97.5])
  return float(low), float(high)


def of_mean(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
  """Means.

  Args:
    values: [N], one number an item: whether it is right, its CIDEr-D.
    draws: [R, N], see `draw`.

  Returns:
    float64 [R].
  """
  values = np.asarray(values, np.float64)
  return draws @ values / len(values)


def of_micro_f1(
  truth: np.ndarray, said: np.ndarray, draws: np.ndarray
) -> np.ndarray:
  """Micro F1.

  Args:
    truth: bool [N, C].
    said: bool [N, C].
    draws: [R, N], see `draw`.

  Returns:
    float64 [R].
  """
  truth, said = np.asarray(truth, bool), np.asarray(said, bool)
  right = (truth & said).sum(axis=1)
  total = truth.sum(axis=1) + said.sum(axis=1)
  return measures.ratio(draws @ (2.0 * right), draws @ (1.0 * total))


def of_mean_average_precision(
  truth: np.ndarray, scores: np.ndarray, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Means of average precisions.

  Args:
    truth: bool [N, C].
    scores: [N, C], no NaN.
    draws: [R, N], see `draw`.

  Returns:
    Over all classes, and over the classes that have positives in a draw: both
    float64 [R]. See measures.MeanAveragePrecision.
  """
  truth, scores = np.asarray(truth, bool), np.asarray(scores)
  # Items first: a class then adds up whole rows.
  weights = np.ascontiguousarray(np.asarray(draws, np.float32).T)
  total = np.zeros(weights.shape[1])
  present = np.zeros(weights.shape[1])
  for labels, column in zip(truth.T, scores.T, strict=True):
    if labels.any():
      total += of_average_precision(labels, column, weights)
      present += weights[labels].any(axis=0)
  return total / truth.shape[1], measures.ratio(total, present)


def of_average_precision(
  truth: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> np.ndarray:
  """Average precision of one class with several sets of weights.

  Args:
    truth: bool [N], with a positive.
    scores: [N], no NaN.
    weights: float32 [N, R], whole numbers that add up to less than 2^24 in each
      column: then all sums are exact.

  Returns:
    float64 [R]; 0 where all positives weigh nothing.
  """
  order = np.argsort(-scores, kind="stable")
  positive = np.flatnonzero(truth[order])
  # Precision is wanted at the thresholds of positives only, which are few:
  # what lies between two of them is added up at once.
  ends = np.unique(measures.threshold_ends(scores[order])[positive])
  starts = np.concatenate([[0], ends + 1])
  seen = _sums(order, starts, weights)
  hits = _sums(order[positive], np.searchsorted(positive, starts), weights)
  precision = measures.ratio(np.cumsum(hits, axis=0), np.cumsum(seen, axis=0))
  return measures.ratio((hits * precision).sum(axis=0), hits.sum(axis=0))


def _sums(
  items: np.ndarray, starts: np.ndarray, weights: np.ndarray
) -> np.ndarray:
  """Sums of weights over items[starts[i]:starts[i + 1]].

  Args:
    items: int, rows of `weights`.
    starts: int [S + 1], ascending.
    weights: float32 [N, R].

  Returns:
    float32 [S, R].
  """
  items = items[: starts[-1]]
  ones = np.ones(len(items), np.float32)
  shape = (len(starts) - 1, len(weights))
  return sparse.csr_array((ones, items, starts), shape=shape) @ weights
