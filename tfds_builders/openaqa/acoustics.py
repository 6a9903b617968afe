"""Puts into words how a sound sounds, by measuring it.

Used for classes about which nothing was written, so that questions on acoustic
features have true answers for them too.

Shapes: N samples in time.
"""

from collections.abc import Sequence

import numpy as np

from ltu_jax.audio.decode import SAMPLE_RATE

# Spectral centroids in Hz, two octaves apart around the middle of speech.
_LOW = 500
_HIGH = 2000

# Seconds above a tenth of the peak; a knock is below, a word above.
_SHORT = 0.3


def describe(takes: Sequence[np.ndarray]) -> str:
  """Returns an acoustic feature of a class.

  Args:
    takes: int16 [N] each, 16 kHz: sounds of the class.

  Returns:
    Two words, as `High-pitched and short`, after the medians over the sounds
    of the spectral centroid and of the time above a tenth of the peak.
  """
  centroid = np.median([_centroid(pcm) for pcm in takes])
  seconds = np.median([_active_seconds(pcm) for pcm in takes])
  if centroid < _LOW:
    pitch = "Low-pitched"
  else:
    pitch = "High-pitched" if centroid > _HIGH else "Mid-pitched"
  return f"{pitch} and {'short' if seconds < _SHORT else 'sustained'}"


def _centroid(pcm: np.ndarray) -> float:
  """Returns the mean frequency in Hz, weighted by power."""
  power = np.abs(np.fft.rfft(pcm.astype(np.float32))) ** 2
  hertz = np.fft.rfftfreq(len(pcm), 1 / SAMPLE_RATE)
  return float((power * hertz).sum() / max(power.sum(), 1e-9))


def _active_seconds(pcm: np.ndarray) -> float:
  """Returns for how long the sound is above a tenth of its peak.

  Counted in pieces of 10 ms, so that the zeros of a wave do not count as
  silence.
  """
  piece = SAMPLE_RATE // 100
  level = np.abs(pcm.astype(np.int32))
  level = np.pad(level, (0, -len(level) % piece)).reshape(-1, piece).max(1)
  return float((level > 0.1 * level.max()).sum() / 100)
