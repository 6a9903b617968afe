"""The filter banks of one clip, for pictures: what the encoder gets of it."""

import functools
import io

import jax
import matplotlib
import matplotlib.image
import numpy as np

from ltu_jax.audio import fbank
from ltu_jax.audio.decode import CLIP_SAMPLES

FRAME, SHIFT = 400, 160
"""Samples of a frame (25 ms) and from one to the next (10 ms)."""

_COLUMNS = 512
"""Columns of a small picture at most."""

_QUALITY = 70
"""Of JPEG: at 0.5 bits a point, noise looks like noise."""


def filter_banks(clip: np.ndarray) -> np.ndarray:
  """Returns what the encoder gets, without the padding at the end.

  Args:
    clip: int16 [samples] at 16 kHz, at least one frame.

  Returns:
    float32 [frames, 128], 1024 frames at most.
  """
  clip = clip[:CLIP_SAMPLES]
  pcm = np.zeros((1, CLIP_SAMPLES), np.int16)
  pcm[0, : len(clip)] = clip
  with jax.default_device(_device()):
    banks = _log_mel()(pcm, np.array([len(clip)], np.int32))
  return np.asarray(banks)[0, : (len(clip) - FRAME) // SHIFT + 1]


def small_picture(banks: np.ndarray) -> bytes:
  """Draws filter banks without axes, as small as can be.

  Args:
    banks: float32 [frames, mels].

  Returns:
    A JPEG file, one row a mel bin, the lowest at the bottom; 512 columns at
    most, each the mean of its frames.
  """
  step = -(-len(banks) // _COLUMNS)
  starts = np.arange(0, len(banks), step)
  sizes = np.diff(np.append(starts, len(banks)))
  columns = np.add.reduceat(banks, starts) / sizes[:, None]
  file = io.BytesIO()
  matplotlib.image.imsave(
    file,
    columns.T,
    cmap="magma",
    origin="lower",
    format="jpeg",
    pil_kwargs={"quality": _QUALITY},
  )
  return file.getvalue()


@functools.cache
def _log_mel():
  """The compiled features."""
  return jax.jit(fbank.log_mel)


def _device() -> jax.Device:
  """A CPU where there is one: accelerators are busy with answers."""
  try:
    return jax.local_devices(backend="cpu")[0]
  except RuntimeError:
    return jax.local_devices()[0]
