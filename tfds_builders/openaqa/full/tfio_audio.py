"""Decodes and resamples with tensorflow-io in place of libsndfile and soxr.

Its binary loads only beside TensorFlow 2.16 or 2.17, in the environment of
launch/prepare/requirements.txt. It reads WAV, FLAC, MP3 and Ogg Vorbis. WAV and
FLAC of 16 bit at 16 kHz give the same samples as libsndfile.
"""

import math
import os
import tempfile

import numpy as np
import soundfile

from ltu_jax.audio.decode import (
  SAMPLE_RATE,
  AudioError,
  Sound,
  is_plausible_rate,
  to_pcm,
)

try:
  import tensorflow as tf
  import tensorflow_io as tfio
except ImportError as e:
  raise ValueError(
    "decoder 'tfio' needs tensorflow-io, which is not in this environment (or"
    f" does not load: {e}); make one from launch/prepare/requirements.txt, or"
    " use decoder 'soundfile'"
  ) from e

# Read beyond the cut, as the resampler looks ahead.
_MARGIN_SECONDS = 0.1

# Samples of Speex's filter at quality 4, which tensorflow-io takes; longer by
# the ratio of the rates where the rate goes down.
_FILTER_LENGTH = 64

# Full scale of what the file holds.
_SCALES = {
  np.dtype(np.int16): 1 << 15,
  np.dtype(np.int32): 1 << 31,
  np.dtype(np.float32): 1,
}


def read(
  source: str | os.PathLike | bytes,
  name: str | None = None,
  *,
  max_seconds: float | None = None,
) -> Sound:
  """Decodes a sound to 16 kHz mono int16: `ltu_jax.audio.decode.read`.

  Args:
    source: A path, or the bytes of a file.
    name: What to call the sound in errors; the path by default.
    max_seconds: Keep no more than this from the start; None keeps all.

  Returns:
    The sound.

  Raises:
    AudioError: As `ltu_jax.audio.decode.read`.
  """
  if isinstance(source, bytes):
    # tensorflow-io tells the rate of files alone.
    with tempfile.NamedTemporaryFile() as file:
      file.write(source)
      file.flush()
      return read(file.name, name or "bytes", max_seconds=max_seconds)
  path = os.fspath(source)
  name = name or path
  _check_file(path, name)
  try:
    return _read(path, name, max_seconds)
  except tf.errors.OutOfRangeError as error:
    raise AudioError(
      f"{name}: is cut short, tensorflow-io reaches its end early", "cut_short"
    ) from error
  except (
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.DataLossError,
  ) as error:
    raise AudioError(
      f"{name}: cannot be decoded, it is damaged, or no WAV, FLAC, MP3 or Ogg"
      f" Vorbis (tensorflow-io: {_words(error)})"
    ) from error


def _check_file(path: str, name: str) -> None:
  """Raises AudioError for a file that is not there or empty."""
  try:
    size = os.stat(path).st_size
  except OSError as error:
    message = f"{name}: cannot be opened: {error.strerror}"
    raise AudioError(message, "unopened") from error
  if size == 0:
    raise AudioError(f"{name}: the file is empty (0 bytes)", "empty")


def _read(path: str, name: str, max_seconds: float | None) -> Sound:
  """Reads, takes the first channel, resamples and rounds."""
  audio = tfio.audio.AudioIOTensor(path)
  rate = int(audio.rate.numpy())
  frames, channels = (int(n) for n in audio.shape.numpy())
  if audio.dtype == tf.float32 and _is_32_bit_integer(path):
    raise AudioError(
      f"{name}: holds 32-bit integers, which tensorflow-io takes for floats;"
      " use decoder 'soundfile'"
    )
  if not is_plausible_rate(rate):
    raise AudioError(f"{name}: a sample rate of {rate} Hz is not plausible")
  wanted = frames
  if max_seconds is not None:
    wanted = min(frames, int((max_seconds + _MARGIN_SECONDS) * rate) + 1)
  samples = np.zeros((0, channels), np.float32)
  if wanted:
    samples = _full_scale_1(audio[0:wanted].numpy())
  samples = samples[:, 0]
  if rate != SAMPLE_RATE and np.isfinite(samples).all() and len(samples):
    samples = _resample(samples, rate)
  pcm = to_pcm(samples, SAMPLE_RATE, name, max_seconds)
  return Sound(pcm, rate, channels, frames / rate)


def _is_32_bit_integer(path: str) -> bool:
  """Whether a file is a WAV of 32-bit integers."""
  with open(path, "rb") as file:
    if file.read(4) != b"RIFF":
      return False
  return soundfile.info(path).subtype == "PCM_32"


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
  """Resamples float32 [N] to 16 kHz without the delay of tfio.audio.resample.

  That gives what comes out of Speex's resampler first: zeros for half the
  length of its filter, and it loses as much of the end. Zeros before and behind
  make up for it.
  """
  step = rate // math.gcd(rate, SAMPLE_RATE)
  length = _FILTER_LENGTH
  if rate > SAMPLE_RATE:
    # Speex's rounding: down to whole samples, then up to a multiple of 8.
    length = -(-(length * rate // SAMPLE_RATE) // 8) * 8
  delay = length // 2
  # The delay becomes whole samples of the result.
  before = -delay % step
  padded = np.pad(samples, (before, delay + step))
  resampled = tfio.audio.resample(padded[:, None], rate, SAMPLE_RATE)
  first = (delay + before) * SAMPLE_RATE // rate
  wanted = round(len(samples) * SAMPLE_RATE / rate)
  return resampled.numpy()[first : first + wanted, 0]


def _full_scale_1(samples: np.ndarray) -> np.ndarray:
  """Returns samples of any type as float32 of full scale 1."""
  if samples.dtype == np.uint8:  # The middle of 8 bits is 128.
    return (samples.astype(np.float32) - 128) / 128
  return (samples / _SCALES[samples.dtype]).astype(np.float32)


def _words(error: tf.errors.OpError) -> str:
  """The error's own words, without the operation's name."""
  return error.message.partition("}} ")[2].partition(" [Op:")[0] or str(error)
