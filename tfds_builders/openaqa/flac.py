"""The form in which a record keeps its sound."""

import io

import numpy as np
import soundfile

from ltu_jax.audio.decode import SAMPLE_RATE


def encode(pcm: np.ndarray) -> bytes:
  """Encodes int16 [N] at 16 kHz as a FLAC file, the `audio` of a record."""
  file = io.BytesIO()
  soundfile.write(file, pcm, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
  return file.getvalue()
