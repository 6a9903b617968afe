"""Lengths of texts in words, as counts by length."""

from typing import Any

MOST = 300
"""Words from which lengths are counted together."""


class Lengths:
  """Counts texts by their number of words."""

  def __init__(self):
    """No text yet."""
    self._counts = [0] * (MOST + 1)
    self._words = self._longest = 0

  def add(self, words: int) -> None:
    """Counts a text of so many words."""
    self._counts[min(words, MOST)] += 1
    self._words += words
    self._longest = max(self._longest, words)

  def merge(self, other: "Lengths") -> None:
    """Adds what another one counted."""
    self._counts = [
      a + b for a, b in zip(self._counts, other._counts, strict=True)
    ]
    self._words += other._words
    self._longest = max(self._longest, other._longest)

  def counts(self) -> list[int]:
    """How many texts have 0, 1, 2, ... words; none longer at the end."""
    last = max((n for n, count in enumerate(self._counts) if count), default=-1)
    return self._counts[: last + 1]

  def as_json(self) -> dict[str, Any]:
    """Returns mean, median, 95th percentile and longest; None without texts."""
    total = sum(self._counts)
    return {
      "mean": self._words / total if total else None,
      "median": self._quantile(0.5, total),
      "p95": self._quantile(0.95, total),
      "longest": self._longest if total else None,
    }

  def _quantile(self, share: float, total: int) -> int | None:
    """The smallest length that so many texts do not surpass."""
    below = 0
    for length, count in enumerate(self._counts):
      below += count
      if below and below >= share * total:
        return length
    return None
