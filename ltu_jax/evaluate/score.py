"""Right answers out of so many, with the uncertainty of their share."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

_Z = 1.959964
"""Quantile of the normal distribution for 95 %, two-sided."""


@dataclasses.dataclass(frozen=True)
class Score:
  """How many answers were right.

  Attributes:
    hits: Right answers.
    count: Questions; may be 0.
  """

  hits: int
  count: int

  @classmethod
  def of(cls, right: Iterable[bool]) -> "Score":
    """Counts."""
    right = list(right)
    return cls(sum(right), len(right))

  @property
  def accuracy(self) -> float:
    """Share of right answers, 0 to 1; NaN without questions."""
    return self.hits / self.count if self.count else math.nan

  @property
  def interval(self) -> tuple[float, float]:
    """95 % interval of the share for independent questions, by Wilson.

    E. B. Wilson, Journal of the American Statistical Association 22, 1927.
    """
    if not self.count:
      return 0.0, 1.0
    p, n, z2 = self.accuracy, self.count, _Z**2
    middle = p + z2 / (2 * n)
    half = _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)
    # Rounding may leave a hair outside.
    return max(0.0, low), min(1.0, high)

  def as_json(self) -> dict[str, Any]:
    """All of it as plain values; a share of nothing is None."""
    return {
      "hits": self.hits,
      "count": self.count,
      "accuracy": self.accuracy if self.count else None,
      "interval_95": list(self.interval) if self.count else None,
    }
