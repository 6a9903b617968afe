"""Long sounds: windows that are heard one by one, and one timeline of answers.

The model hears 10.24 s. A longer sound is cut into windows of that length, each
of which is asked about alone: none knows what the others heard.
"""

import dataclasses
from collections.abc import Sequence

from ltu_jax.audio.decode import CLIP_SAMPLES, SAMPLE_RATE

WINDOW_SECONDS = 10.24
"""Seconds of a window: the encoder's 1024 frames of 10 ms."""

WINDOW_SAMPLES = 163840
"""The same in samples at 16 kHz."""

MOST_OVERLAP = 10.0
"""Seconds that two windows share at most: they then are 0.24 s apart."""


@dataclasses.dataclass(frozen=True)
class Span:
  """A part of a sound with what was answered about it.

  Attributes:
    start: Seconds from the start of the sound.
    end: The same, where the part ends.
    answer: The answer.
  """

  start: float
  end: float
  answer: str


def cut(num_samples: int, overlap: float = 2.0) -> list[tuple[int, int]]:
  """Where the windows of a sound begin and end.

  A sound that is heard whole is one window. The last window of a longer one
  ends where the sound ends, and so may share more with the one before it.

  Args:
    num_samples: Samples at 16 kHz, at least 1.
    overlap: Seconds that a window shares with the one before, 0 to
      MOST_OVERLAP.

  Returns:
    (first sample, sample after the last) of each, in order.

  Raises:
    ValueError: The overlap is out of its range.
  """
  if not 0 <= overlap <= MOST_OVERLAP:
    raise ValueError(
      f"overlap is {overlap}; it must be 0 to {MOST_OVERLAP:g} seconds."
    )
  if num_samples <= CLIP_SAMPLES:
    return [(0, num_samples)]
  hop = WINDOW_SAMPLES - round(overlap * SAMPLE_RATE)
  last = num_samples - WINDOW_SAMPLES
  starts = [*range(0, last, hop), last]
  return [(start, start + WINDOW_SAMPLES) for start in starts]


def merge(spans: Sequence[Span]) -> list[Span]:
  """Joins neighbours with the same answer.

  Upper and lower case, spaces and a full stop at the end make no difference.
  Where two windows with different answers overlap, the later one's part begins
  at the end of the earlier one's, so that the parts follow one another.

  Args:
    spans: Windows in order, as `cut` makes them.

  Returns:
    Parts without gaps or overlap; each has its first window's answer.
  """
  merged: list[Span] = []
  for span in spans:
    if merged and _plain(merged[-1].answer) == _plain(span.answer):
      merged[-1] = dataclasses.replace(merged[-1], end=span.end)
    else:
      start = merged[-1].end if merged else span.start
      merged.append(dataclasses.replace(span, start=start))
  return merged


def timeline(spans: Sequence[Span]) -> str:
  """One line a part: "0.0-18.5 s: a dog barks"."""
  return "\n".join(f"{s.start:.1f}-{s.end:.1f} s: {s.answer}" for s in spans)


def _plain(answer: str) -> str:
  """An answer without what makes no difference."""
  return " ".join(answer.casefold().split()).rstrip(".")
