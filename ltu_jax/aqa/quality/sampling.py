"""Chooses some clips of a file with all their questions, in one pass."""

import dataclasses
import heapq
from collections.abc import Sequence

from ltu_jax.aqa.quality.digests import digest
from ltu_jax.aqa.quality.flag import Flag
from tfds_builders.openaqa.full.entries import Entry

_MOST_QUESTIONS = 100
"""Questions of a clip that are kept, the first ones."""


@dataclasses.dataclass
class Sampled:
  """A clip that was chosen.

  Attributes:
    audio_id: Its name.
    place: How many clips came up before it, of those that were chosen for a
      while.
    questions: Its first questions, with the flags of the gates.
    left_out: How many more there are.
  """

  audio_id: str
  place: int
  questions: list[tuple[Entry, Sequence[Flag]]] = dataclasses.field(
    default_factory=list
  )
  left_out: int = 0


class Sampler:
  """Keeps the clips whose names have the smallest digests.

  Which they are depends on names and seed alone, not on the file's order; one
  that is not among the smallest so far never will be. So all questions of a
  clip are seen, wherever they are in the file.

  Attributes:
    num_questions: Questions so far.
  """

  def __init__(self, number: int, seed: int):
    """Chooses nothing yet.

    Args:
      number: Clips to choose, 1 or more.
      seed: Of the choice.
    """
    self._number, self._seed = number, str(seed)
    self._clips: dict[str, Sampled] = {}
    # Negative digests: the first is that of the clip to give up next.
    self._heap: list[tuple[int, str]] = []
    self._place = self.num_questions = 0

  def add(self, entry: Entry, flags: Sequence[Flag]) -> None:
    """Adds a question with the flags of the gates."""
    self.num_questions += 1
    clip = self._clips.get(entry.audio_id)
    if clip is None:
      own = -digest(self._seed, entry.audio_id), entry.audio_id
      if len(self._heap) < self._number:
        heapq.heappush(self._heap, own)
      elif own > self._heap[0]:
        del self._clips[heapq.heapreplace(self._heap, own)[1]]
      else:
        return
      clip = Sampled(entry.audio_id, self._place)
      self._clips[entry.audio_id] = clip
      self._place += 1
    if len(clip.questions) < _MOST_QUESTIONS:
      clip.questions.append((entry, tuple(flags)))
    else:
      clip.left_out += 1

  def clips(self) -> list[Sampled]:
    """Returns what was chosen, in order of the file."""
    return sorted(self._clips.values(), key=lambda clip: clip.place)
