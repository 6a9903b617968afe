"""Bytes that a client sent, to the sound that the model hears.

Decoded in memory and by their content: neither a path nor an address is ever
opened.
"""

import base64
import binascii
import dataclasses
import re

import numpy as np

from ltu_jax.audio.decode import (
  CLIP_SAMPLES,
  MIN_SAMPLES,
  SAMPLE_RATE,
  AudioError,
  read,
)
from ltu_jax.serve.errors import printable

HEARD_SECONDS = CLIP_SAMPLES / SAMPLE_RATE
"""How much of a sound the model hears: 10.255 s."""


@dataclasses.dataclass(frozen=True)
class Heard:
  """A sound as the model hears it.

  Attributes:
    clip: int16 [N] at 16 kHz, N at most CLIP_SAMPLES.
    notes: What was changed or left out, in words; often empty.
  """

  clip: np.ndarray
  notes: tuple[str, ...]


def hear(data: bytes, name: str) -> Heard:
  """Decodes an upload.

  Args:
    data: Its bytes, whatever format libsndfile reads.
    name: What to call it in messages; see `file_name`.

  Raises:
    AudioError: It cannot be used.
  """
  # A little more than is heard: the end must not depend on the cut.
  sound = read(data, name=name, max_seconds=HEARD_SECONDS + 0.5)
  if len(sound.pcm) < MIN_SAMPLES:
    raise AudioError(
      f"{name}: {len(sound.pcm) / SAMPLE_RATE * 1000:.1f} ms of sound are too"
      " short; at least 25 ms are needed",
      "too_short",
    )
  clip = sound.pcm[:CLIP_SAMPLES]
  notes = []
  if sound.sample_rate != SAMPLE_RATE:
    notes.append(f"resampled from {sound.sample_rate} Hz to {SAMPLE_RATE} Hz")
  if sound.channels > 1:
    notes.append(f"only the first of {sound.channels} channels is heard")
  if len(sound.pcm) > CLIP_SAMPLES:
    notes.append(
      f"only the first {HEARD_SECONDS:.3f} s of {sound.seconds:.2f} s are heard"
    )
  if not clip.any():
    notes.append("the sound is digital silence")
  return Heard(clip, tuple(notes))


def file_name(text: str | None) -> str:
  """The last part of a file's name, fit for a message."""
  last = re.split(r"[/\\]", text or "")[-1].strip()
  return printable(last) or "the sound"


def from_base64(text: str) -> bytes:
  """Bytes of a base64 text.

  Raises:
    ValueError: It is none.
  """
  try:
    return base64.b64decode(text, validate=True)
  except (binascii.Error, ValueError) as error:
    raise ValueError(f"this is no base64: {error}") from error
