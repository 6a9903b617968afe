"""Gates that compare a question with those before it.

Equal means: the same words in the same order, whatever the case and the
punctuation. Nearly equal: see shingles.py.
"""

import array
from collections.abc import Collection

from ltu_jax.aqa.quality import shingles
from ltu_jax.aqa.quality.digests import DigestMap, digest
from ltu_jax.aqa.quality.flag import Flag
from ltu_jax.aqa.quality.words import words

NEAR = 0.7
"""Jaccard index from which two questions are nearly equal. Of twelve words, one
in the middle may differ."""

MOST = 4_000_000
"""Questions that are remembered: about 0.8 GB. The published set has 3.8 M
open-ended ones."""

_MOST_OF_A_CLIP = 200
"""Questions of one clip that a further one is compared with, the latest."""

_MOST_SLOTS = 1 << 21

_BYTES_OF_AN_ENTRY = 256
"""Of a JSON file, at least, as a rule."""


class Duplicates:
  """Remembers questions, and tells which came before.

  Attributes:
    forgotten: Questions that were compared, but came when memory was full.
  """

  def __init__(
    self,
    near: float = NEAR,
    most: int = MOST,
    num_bytes: int | None = None,
    seed: int = 0,
  ):
    """Makes an empty memory.

    Args:
      near: Jaccard index from which questions are nearly equal.
      most: Questions to remember.
      num_bytes: Size of the files to read, so that small ones take little
        memory; None is unknown.
      seed: Of the hash functions.
    """
    self._near, self._most = near, most
    slots = _MOST_SLOTS
    if num_bytes is not None:
      # Twice as many slots as questions, and a power of two.
      wanted = 2 * (num_bytes // _BYTES_OF_AN_ENTRY + 1)
      slots = min(slots, max(1 << 10, 1 << wanted.bit_length()))
    self._store = shingles.Store()
    self._index = shingles.NearIndex(self._store, slots, seed)
    self._in_clip, self._overall = DigestMap(), DigestMap()
    # The latest question of each clip, and of each question that before it.
    self._latest, self._before = DigestMap(), array.array("I", [0])
    self.forgotten = 0

  def flags(
    self,
    clip: str,
    question: str,
    remember: bool = True,
    drop: Collection[str] = (),
  ) -> list[Flag]:
    """Compares a question with those that are remembered.

    Args:
      clip: The clip's name.
      question: What is asked.
      remember: Whether to remember it.
      drop: Gates for whose flags it is not remembered: what is not kept must
        not stand in the way of the next.

    Returns:
      Flags of `same_in_clip` or else `near_in_clip`, and of `same_overall` or
      else `near_overall`.
    """
    plain = " ".join(words(question)) or question.strip()
    in_clip, overall = digest(clip, plain), digest(plain)
    of_clip, own = digest(clip), shingles.shingles(question)
    near_in_clip = self._is_near_in_clip(of_clip, own)
    near_overall, slots = self._index.find(own, self._near)
    found = []
    if in_clip in self._in_clip:
      found.append(Flag("same_in_clip", "the clip has the same"))
    elif near_in_clip:
      found.append(Flag("near_in_clip", "the clip has nearly the same"))
    if overall in self._overall:
      found.append(Flag("same_overall", "the same came before"))
    elif near_overall or near_in_clip:
      found.append(Flag("near_overall", "nearly the same came before"))
    if remember and not any(flag.gate in drop for flag in found):
      if max(len(self._in_clip), len(self._store)) >= self._most:
        self.forgotten += 1
        return found
      self._in_clip.put(in_clip)
      self._overall.put(overall)
      if not near_in_clip:
        number = self._store.add(own)
        self._before.append(self._latest.get(of_clip, 0))
        self._latest.put(of_clip, number)
        if not near_overall:
          self._index.add(number, slots)
    return found

  def _is_near_in_clip(self, clip: int, own: frozenset[int]) -> bool:
    """Whether a clip has a question that is nearly equal."""
    number = self._latest.get(clip, 0)
    for _ in range(_MOST_OF_A_CLIP):
      if not number:
        return False
      if shingles.jaccard(own, self._store[number]) >= self._near:
        return True
      number = self._before[number]
    return False
