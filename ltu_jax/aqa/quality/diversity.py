"""How different texts are: distinct n-grams, and the growth of vocabulary.

Letters: T hashes of words, with a 0 after each text.
"""

import functools
from typing import Any

import numpy as np

from ltu_jax.aqa.quality.digests import digest
from ltu_jax.aqa.quality.distinct import Distinct

_LENGTHS = (1, 2, 3)
"""Words of an n-gram."""

_FIRST_POINT, _STEP = 100, 1.3
"""Words at the first point of the curve, and from one to the next."""

_MOST_WAITING = 1 << 16

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class Diversity:
  """Counts words, pairs and triples of words of many texts."""

  def __init__(self):
    """No text yet."""
    self._texts, self._distinct_texts = 0, Distinct()
    self._new_texts: list[int] = []
    self._all = dict.fromkeys(_LENGTHS, 0)
    self._distinct = {n: Distinct() for n in _LENGTHS}
    self._waiting: list[int] = []
    self._next_point = _FIRST_POINT
    self._curve: list[tuple[int, int]] = []

  def add(self, text: str, words: list[str]) -> None:
    """Adds a text with its words."""
    self._texts += 1
    self._new_texts.append(digest(text))
    self._waiting.extend(map(_hash, words))
    self._waiting.append(0)
    words_after = self._all[1] + len(self._waiting)
    if words_after >= self._next_point or len(self._waiting) > _MOST_WAITING:
      self._count()

  def as_json(self) -> dict[str, Any]:
    """Returns all counts as plain values; of `exact: false` an estimate."""
    self._count()
    ngrams = {}
    for n in _LENGTHS:
      distinct, total = self._distinct[n], self._all[n]
      ngrams[str(n)] = _share(distinct, total)
    curve = list(self._curve)
    if self._all[1] and (not curve or curve[-1][0] < self._all[1]):
      curve.append((self._all[1], self._distinct[1].count))
    return {
      "texts": _share(self._distinct_texts, self._texts),
      "ngrams": ngrams,
      "curve": curve,
    }

  def _count(self) -> None:
    """Counts what waits."""
    self._distinct_texts.add(np.array(self._new_texts, np.uint64))
    words = np.array(self._waiting, np.uint64)
    self._new_texts, self._waiting = [], []
    hashes, is_there = words, words != 0
    for n in _LENGTHS:
      if n > 1:
        # What begins where it began, with one word more.
        hashes = _mix(hashes[:-1] * _FACTOR + words[n - 1 :])
        is_there = is_there[:-1] & (words[n - 1 :] != 0)
      self._all[n] += int(is_there.sum())
      self._distinct[n].add(hashes[is_there])
    if self._all[1] >= self._next_point:
      self._curve.append((self._all[1], self._distinct[1].count))
      self._next_point = int(_STEP * self._all[1])


def _share(distinct: Distinct, total: int) -> dict[str, Any]:
  """Different things of all."""
  # An estimate may be larger than what there is.
  count = min(distinct.count, total)
  return {
    "all": total,
    "distinct": count,
    "share": count / total if total else None,
    "exact": distinct.is_exact,
  }


@functools.lru_cache(100_000)
def _hash(word: str) -> int:
  """64 bits of a word, not 0."""
  return digest(word)


def _mix(values: np.ndarray) -> np.ndarray:
  """Spreads 64 bits evenly (the finaliser of SplitMix64)."""
  values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return values ^ (values >> np.uint64(31))
