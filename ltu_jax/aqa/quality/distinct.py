"""Counts different things among very many, in bounded memory."""

import numpy as np

_SIZE = 1 << 16
"""Hashes kept: 0.5 MB, and an error of 0.4 % (1 / sqrt(_SIZE))."""

_SPACE = float(1 << 64)


class Distinct:
  """The k smallest hashes of all (Bar-Yossef et al., 2002).

  Exact for up to k different things. Of more, the k-th smallest hash says how
  densely the hashes lie.
  """

  def __init__(self, size: int = _SIZE):
    """Makes an empty counter.

    Args:
      size: Hashes to keep, k.
    """
    self._size = size
    self._kept = np.zeros(0, np.uint64)
    self._new: list[np.ndarray] = []
    self._num_new = 0
    # Once k are kept, larger hashes say nothing.
    self._full = False

  def add(self, hashes: np.ndarray) -> None:
    """Adds things.

    Args:
      hashes: uint64 [n], evenly spread; the same for the same thing.
    """
    if self._full:
      hashes = hashes[hashes < self._kept[-1]]
    if len(hashes):
      self._new.append(hashes)
      self._num_new += len(hashes)
      if self._num_new > self._size:
        self._merge()

  @property
  def is_exact(self) -> bool:
    """Whether `count` is no estimate."""
    self._merge()
    return not self._full

  @property
  def count(self) -> int:
    """How many different things were added."""
    self._merge()
    if not self._full:
      return len(self._kept)
    return round((self._size - 1) / (float(self._kept[-1]) / _SPACE))

  def _merge(self) -> None:
    """Takes in what is new."""
    if self._new:
      both = np.unique(np.concatenate([self._kept, *self._new]))
      # One more than is kept tells that there are more.
      self._full = self._full or len(both) > self._size
      self._kept = both[: self._size]
      self._new, self._num_new = [], 0
