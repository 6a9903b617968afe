"""A sound file as the model hears it, and what was done with it."""

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
"""1024 frames, one every 10 ms: what the encoder covers."""

SHOWN_SECONDS = 12.8
"""What a picture shows of a longer clip, so that the cut can be seen."""


@dataclasses.dataclass(frozen=True, eq=False)
class Heard:
  """A clip.

  Attributes:
    name: What the user calls it.
    pcm: int16 [samples] at 16 kHz, SHOWN_SECONDS at most.
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
    """Whether there is more than is heard."""
    return len(self.pcm) > CLIP_SAMPLES

  @property
  def note(self) -> str:
    """What was done with the file, in words."""
    said = [f"{self.name}: {self.seconds:.2f} s."]
    if self.channels > 1:
      said.append(f"The first of {self.channels} channels is heard.")
    if self.sample_rate != SAMPLE_RATE:
      said.append(f"Resampled from {self.sample_rate} Hz to {SAMPLE_RATE} Hz.")
    if self.cut:
      said.append(f"Only the first {HEARD_SECONDS} s are heard.")
    if not self.clip.any():
      said.append("What is heard is digital silence.")
    return " ".join(said)


def hear(source: str | os.PathLike | bytes, name: str) -> Heard:
  """Decodes a sound.

  Args:
    source: A path, or the bytes of a file.
    name: What to call it in errors and in the note.

  Raises:
    AudioError: It cannot be decoded, or is shorter than one frame (25 ms).
  """
  sound = read(source, name, max_seconds=SHOWN_SECONDS)
  if len(sound.pcm) < MIN_SAMPLES:
    raise AudioError(
      f"{name}: {len(sound.pcm) / SAMPLE_RATE * 1000:.1f} ms of sound are too"
      " short; at least 25 ms are needed.",
      "too_short",
    )
  return Heard(
    name, sound.pcm, sound.sample_rate, sound.channels, sound.seconds
  )
