"""Numbers that say how good classifications are.

A model that is always right gets 1.0 of all of them. A constant one gets the
share of the class that it names as accuracy, and as average precision of a
class the share of the items that have it: what chance gets.

Axis letters: N items, C classes.
"""

import dataclasses

import numpy as np


def one_hot(classes: np.ndarray, num_classes: int) -> np.ndarray:
  """From int [N] to bool [N, C], for the measures that take sets of labels."""
  return np.asarray(classes)[:, None] == np.arange(num_classes)


@dataclasses.dataclass(frozen=True)
class F1:
  """F1 of sets of labels.

  Attributes:
    micro: Of all decisions together. With one label an item in truth and
      answer it is the accuracy.
    macro: Mean over all classes; a class that is nowhere counts 0.
  """

  micro: float
  macro: float


def f1(truth: np.ndarray, said: np.ndarray) -> F1:
  """F1 scores.

  Args:
    truth: bool [N, C].
    said: bool [N, C].
  """
  truth, said = np.asarray(truth, bool), np.asarray(said, bool)
  right = (truth & said).sum(axis=0)
  # Twice the right ones, the wrong ones and the missing ones.
  total = truth.sum(axis=0) + said.sum(axis=0)
  classes = ratio(2 * right, total)
  return F1(
    micro=float(ratio(2 * right.sum(), total.sum())),
    macro=float(classes.mean()),
  )


def average_precision(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
  """Average precision of each class.

  The sum over thresholds of (recall there - recall at the threshold above) *
  precision there, without interpolation. Items with equal scores are at one
  threshold, whatever their order.

  Args:
    truth: bool [N, C].
    scores: [N, C], no NaN.

  Returns:
    float64 [C]; 0 for a class without positives.
  """
  truth, scores = np.asarray(truth, bool), np.asarray(scores)
  # One class at a time: a sort of all would take a gigabyte for AudioSet.
  pairs = zip(truth.T, scores.T, strict=True)
  return np.array([_average_precision(*pair) for pair in pairs], np.float64)


def _average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
  """The same of one class, [N] and [N]."""
  if not truth.any():
    return 0.0
  order = np.argsort(-scores, kind="stable")
  positive = np.flatnonzero(truth[order])
  ends = threshold_ends(scores[order])[positive]
  found = np.searchsorted(positive, ends, side="right")
  # Each positive adds the same to recall.
  return float(np.mean(found / (ends + 1)))


@dataclasses.dataclass(frozen=True)
class MeanAveragePrecision:
  """Means of average precisions.

  Attributes:
    all_classes: A class without positives counts 0: the published number.
    present_classes: Over classes that have positives; 0 if none has.
  """

  all_classes: float
  present_classes: float


def mean_average_precision(
  truth: np.ndarray, scores: np.ndarray
) -> MeanAveragePrecision:
  """Means over classes; see `average_precision`."""
  each = average_precision(truth, scores)
  present = int(np.asarray(truth, bool).any(axis=0).sum())
  return MeanAveragePrecision(
    all_classes=float(each.mean()),
    present_classes=float(ratio(each.sum(), present)),
  )


def confusion(
  truth: np.ndarray, said: np.ndarray, num_classes: int
) -> np.ndarray:
  """Counts of what was said of which class.

  Args:
    truth: int [N], from 0 to C - 1.
    said: int [N], the same.
    num_classes: C.

  Returns:
    int64 [C, C]: rows are truths, columns what was said.
  """
  pairs = np.asarray(truth, np.int64) * num_classes + np.asarray(said)
  counts = np.bincount(pairs, minlength=num_classes**2)
  return counts.reshape(num_classes, num_classes)


def threshold_ends(ranked: np.ndarray) -> np.ndarray:
  """Where the items end that have the same score.

  Args:
    ranked: [N] in descending order.

  Returns:
    int64 [N]: the last place with the score of this one.
  """
  ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
  return ends[np.searchsorted(ends, np.arange(len(ranked)))]


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns a / b, and 0 where b is 0; float64."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)
