"""Files of noise, in memory; no test by itself."""

import io

import numpy as np
import soundfile


def wav(seconds, rate=16000, channels=1, level=0.3):
  """Bytes of a WAV file, always the same."""
  rng = np.random.default_rng(0)
  samples = level * rng.uniform(-1, 1, (round(seconds * rate), channels))
  file = io.BytesIO()
  soundfile.write(file, samples, rate, format="WAV")
  return file.getvalue()
