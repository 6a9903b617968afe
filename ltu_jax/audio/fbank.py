"""Kaldi log-mel filter banks of the published model, in JAX.

Runs on the device, inside the compiled training step: PCM in, normalised
filter banks out, all shapes static. The numbers are torchaudio's
`compliance.kaldi.fbank` as the published code calls it.

Letters: B rows, N samples, T frames, W samples of a window or of a part
of it, S samples of a shift, F points of the transform, K = F / 2 frequencies
(without Nyquist), C cosines and sines, M mels.
"""

import functools
import math

import einops
import jax
import jax.numpy as jnp
import numpy as np

NUM_FRAMES = 1024
"""Frames of a clip: what the encoder's 64 x 16 time patches cover."""

NUM_MELS = 128
"""Mel filters: what the encoder's 8 x 16 frequency patches cover."""

CLIP_SAMPLES = 164080
"""Samples of exactly NUM_FRAMES frames at 16 kHz: 400 + 1023 * 160."""

# Mean and deviation by which the published collator's `load_audio` normalises.
# It divides by the deviation itself, not by twice of it as AST does.
NORM_MEAN = -5.081
NORM_STD = 4.4849

_PRE_EMPHASIS = 0.97
_LOWEST_HZ = 20.0
_WINDOW_SECONDS = 0.025
_SHIFT_SECONDS = 0.010

# Kaldi's floor before the logarithm: the epsilon of float32.
_FLOOR = float(np.finfo(np.float32).eps)

# Small enough for the spectra of a batch of 16 to stay in a CPU's cache, large
# enough for a TPU's matrix unit.
_FRAMES_AT_A_TIME = 64

# What the published collator falls back to (before normalising, in every
# cell) for a clip shorter than one window.
_TOO_SHORT = 0.01


def log_mel(
  pcm: jax.Array,
  num_samples: jax.Array,
  *,
  sample_rate: int = 16000,
  num_frames: int = NUM_FRAMES,
) -> jax.Array:
  """Returns the normalised log-mel filter banks of a batch of clips.

  Frames of 25 ms every 10 ms without partial ones, DC removal per frame,
  pre-emphasis 0.97, symmetric Hann window, power spectrum, 128 Kaldi mel
  filters from 20 Hz to Nyquist, floor 1.19e-7, natural logarithm, zero rows
  up to `num_frames`, then `(x + 5.081) / 4.4849`.

  The published code first takes the mean of the clip off. Here it is left
  out: the DC removal per frame takes any constant off.

  Args:
    pcm: int16 [B, N], or float32 [B, N] with full scale 1. What lies behind
      `num_samples` must be finite and is otherwise ignored.
    num_samples: int32 [B], valid samples of each row. Shorter than a window:
      the constant of the published collator. 0 (no clip): all padding.
    sample_rate: Samples a second, static. The published model never
      resamples, so its filters follow the file's rate; ours are fed 16 kHz.
    num_frames: T, static.

  Returns:
    float32 [B, T, 128].

  Raises:
    TypeError: If `pcm` is neither int16 nor float32.
  """
  if pcm.dtype == jnp.int16:
    pcm = pcm.astype(jnp.float32) / 32768
  elif pcm.dtype != jnp.float32:
    raise TypeError(f"pcm must be int16 or float32, not {pcm.dtype}")
  window = int(sample_rate * _WINDOW_SECONDS)
  shift = int(sample_rate * _SHIFT_SECONDS)
  num_samples = jnp.minimum(num_samples, pcm.shape[1])

  x = _unnormalised(pcm, sample_rate, window, shift, num_frames)
  valid_frames = (num_samples - window) // shift + 1
  in_clip = jnp.arange(num_frames) < valid_frames[:, None]
  x = jnp.where(in_clip[..., None], x, 0.0)
  too_short = (num_samples > 0) & (num_samples < window)
  x = jnp.where(too_short[:, None, None], _TOO_SHORT, x)
  return (x - NORM_MEAN) / NORM_STD


def _unnormalised(
  pcm: jax.Array, sample_rate: int, window: int, shift: int, num_frames: int
) -> jax.Array:
  """Returns the log-mel energies [B, T, M] of float32 [B, N].

  Some frames of all clips at a time: the spectra of a whole batch would fill
  memory that is used once, which on a CPU costs more than the arithmetic. The
  loop is over time, so that a batch may be spread over devices.
  """
  num_chunks = math.ceil(num_frames / _FRAMES_AT_A_TIME)
  # A chunk also needs the samples by which its last frame is longer than a
  # shift.
  size = (_FRAMES_AT_A_TIME - 1) * shift + math.ceil(window / shift) * shift
  total = (num_chunks - 1) * _FRAMES_AT_A_TIME * shift + size
  pcm = pcm[:, :total]
  pcm = jnp.pad(pcm, ((0, 0), (0, total - pcm.shape[1])))
  num_points = 1 << (window - 1).bit_length()
  banks = mel_banks(sample_rate, num_points // 2)[:, _order(num_points // 2)]

  def chunk(i: jax.Array) -> jax.Array:
    start = i * _FRAMES_AT_A_TIME * shift
    samples = jax.lax.dynamic_slice_in_dim(pcm, start, size, axis=1)
    frames = _frame(samples, window, shift)
    frames -= frames.mean(axis=-1, keepdims=True)
    before = jnp.concatenate([frames[..., :1], frames[..., :-1]], axis=-1)
    frames = (frames - _PRE_EMPHASIS * before) * _hann(window)
    mel = jnp.einsum(
      "BTK,MK->BTM",
      _power(frames, num_points),
      banks,
      precision=jax.lax.Precision.HIGHEST,
    )
    return jnp.log(jnp.maximum(mel, _FLOOR))

  x = jax.lax.map(chunk, jnp.arange(num_chunks))
  x = einops.rearrange(x, "chunk B T M -> B (chunk T) M")
  return x[:, :num_frames]


def _frame(samples: jax.Array, window: int, shift: int) -> jax.Array:
  """Returns the overlapping frames [B, T, W] of float32 [B, N].

  A frame is a few neighbouring blocks of one shift each: slices of one
  reshape, which cost less than a gather of T * W indices. N is T shifts and
  as many more as the last frame is longer, in whole shifts.
  """
  blocks = einops.rearrange(samples, "B (T S) -> B T S", S=shift)
  per_frame = math.ceil(window / shift)
  num_frames = blocks.shape[1] - per_frame + 1
  shifted = [blocks[:, i : i + num_frames] for i in range(per_frame)]
  return jnp.concatenate(shifted, axis=-1)[..., :window]


def _power(frames: jax.Array, num_points: int) -> jax.Array:
  """Returns the power [B, T, K] of windowed frames [B, T, W].

  The transform is a matrix product rather than an FFT: XLA does not
  partition an FFT, so that a batch spread over devices would be gathered on
  each of them, and a TPU has a matrix unit. One step of the fast transform is
  taken, which saves a CPU a third of the work: even frequencies see the sum
  of the frame's halves, odd ones the difference.

  Args:
    frames: float32 [B, T, W].
    num_points: F, not below W; zeros are added up to it.

  Returns:
    Frequencies 0 to F / 2 - 1 in the order of `_order`.
  """
  half = num_points // 2
  missing = num_points - frames.shape[-1]
  first, second = frames[..., :half], frames[..., half:]
  second = jnp.pad(second, ((0, 0), (0, 0), (0, missing)))
  powers = []
  for remainder, part in enumerate((first + second, first - second)):
    spectrum = jnp.einsum(
      "BTW,WC->BTC",
      part,
      _dft(num_points, remainder),
      precision=jax.lax.Precision.HIGHEST,
    )
    real, imaginary = jnp.split(spectrum, 2, axis=-1)
    powers.append(jnp.square(real) + jnp.square(imaginary))
  return jnp.concatenate(powers, axis=-1)


def _order(num_frequencies: int) -> np.ndarray:
  """Returns the frequencies in the order of `_power`: even, then odd."""
  k = np.arange(num_frequencies)
  return np.concatenate([k[::2], k[1::2]])


@functools.cache
def _dft(num_points: int, remainder: int) -> np.ndarray:
  """Returns cosines, then sines, of every other frequency of the transform.

  Args:
    num_points: F, of which the first half of the samples is taken.
    remainder: 0 for the even frequencies, 1 for the odd ones.

  Returns:
    float32 [F / 2, F / 2], below the Nyquist frequency, which has no mel
    weight.
  """
  half = num_points // 2
  # Whole turns are taken off in integers, before the rounding of 2 pi.
  turns = np.outer(np.arange(half), np.arange(remainder, half, 2)) % num_points
  angle = 2 * np.pi * turns / num_points
  dft = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
  return dft.astype(np.float32)


def _hann(window: int) -> np.ndarray:
  """Returns the symmetric Hann window, float32 [W]."""
  turns = np.arange(window) / (window - 1)
  return (0.5 - 0.5 * np.cos(2 * np.pi * turns)).astype(np.float32)


@functools.cache
def mel_banks(sample_rate: int, num_frequencies: int) -> np.ndarray:
  """Returns Kaldi's mel filters: triangles of equal width in mel.

  Args:
    sample_rate: Samples a second.
    num_frequencies: K, half the length of the transform.

  Returns:
    float32 [M, K], M = 128, computed in float64. At 16 kHz filter 3 (from 0)
    lies between two frequencies and is empty, as in the published features.
  """
  edges = np.linspace(_mel(_LOWEST_HZ), _mel(sample_rate / 2), NUM_MELS + 2)
  left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
  hz = np.arange(num_frequencies) * sample_rate / (2 * num_frequencies)
  rising = (_mel(hz) - left) / (centre - left)
  falling = (right - _mel(hz)) / (right - centre)
  return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def _mel(hz: float | np.ndarray) -> np.ndarray:
  """Returns frequencies in mel, Kaldi's (HTK's) natural-logarithm form."""
  return 1127 * np.log1p(np.asarray(hz) / 700)
