"""A sound as the model hears it, and what was done with it, in words."""

import dataclasses
import os

import numpy as np

from ltu_jax.audio.decode import (
  CLIP_SAMPLES,
  MIN_SAMPLES,
  SAMPLE_RATE,
  AudioError,
  read,
)

HEARD_SECONDS = 10.24
"""1024 frames, one every 10 ms. The last frame ends a little later: what it is
made of are CLIP_SAMPLES."""

# What is read of a longer sound: all that is heard, and to see that it is cut.
_READ_SECONDS = CLIP_SAMPLES / SAMPLE_RATE + 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Heard:
  """A sound that can be asked about.

  Attributes:
    name: What it is called.
    pcm: int16 [samples] at 16 kHz, as much as was read.
    sample_rate: Samples a second of the file.
    channels: Channels of the file.
    seconds: Length of the whole file.
  """

  name: str
  pcm: np.ndarray
  sample_rate: int
  channels: int
  seconds: float

  @property
  def clip(self) -> np.ndarray:
    """int16 [samples] of which the features are made."""
    return self.pcm[:CLIP_SAMPLES]

  @property
  def cut(self) -> bool:
    """Whether there is more than is heard at once."""
    return len(self.pcm) > CLIP_SAMPLES

  @property
  def notes(self) -> tuple[str, ...]:
    """What was done with the file, such as "resampled from 44100 Hz"."""
    notes = []
    if self.sample_rate != SAMPLE_RATE:
      notes.append(f"resampled from {self.sample_rate} Hz")
    if self.channels > 1:
      notes.append(f"first of {self.channels} channels taken")
    return tuple(notes)

  @property
  def cut_note(self) -> str:
    """That only its beginning is heard; "" if all is."""
    if not self.cut:
      return ""
    return f"only the first {HEARD_SECONDS} s of {self.seconds:.1f} s are heard"

  @property
  def silence_note(self) -> str:
    """That nothing can be heard in what was read; "" if something can."""
    return "" if self.pcm.any() else "digital silence"

  @property
  def all_notes(self) -> tuple[str, ...]:
    """All of them, for a sound that is heard at once."""
    more = (self.cut_note, self.silence_note)
    return (*self.notes, *filter(None, more))


def hear(
  source: str | os.PathLike | bytes,
  name: str | None = None,
  *,
  seconds: float | None = _READ_SECONDS,
) -> Heard:
  """Decodes a sound.

  Args:
    source: A path, or the bytes of a file, in any format that libsndfile reads.
    name: What to call it; the path by default.
    seconds: Read no more than this; by default, what is heard at once and a
      little more. None reads all.

  Raises:
    AudioError: It cannot be decoded, or is shorter than one frame (25 ms).
  """
  if name is None:
    name = "the sound" if isinstance(source, bytes) else os.fspath(source)
  sound = read(source, name, max_seconds=seconds)
  if len(sound.pcm) < MIN_SAMPLES:
    raise AudioError(
      f"{name}: {len(sound.pcm) / SAMPLE_RATE * 1000:.1f} ms of sound are too"
      " short; at least 25 ms are needed",
      "too_short",
    )
  return Heard(
    name, sound.pcm, sound.sample_rate, sound.channels, sound.seconds
  )
