"""Kaldi log-mel filter banks of the published model, in JAX.

Runs on the device, inside the compiled training step: PCM in, normalised
filter banks out, all shapes static. The numbers are torchaudio's
`compliance.kaldi.fbank` as the published code calls it.

Letters: B rows, N samples, T frames, W samples of a window, S samples of a
shift, F points of the transform, K = F / 2 frequencies (no Nyquist), C = 2 K
cosines and sines, M mels.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

NUM_FRAMES = 1024
"""Frames of a clip: what the encoder's 64 x 16 time patches cover."""

NUM_MELS = 128
"""Mel filters: what the encoder's 8 x 16 frequency patches cover."""

CLIP_SAMPLES = 164080
"""Samples of exactly NUM_FRAMES frames at 16 kHz: 400 + 1023 * 160."""

# Mean and deviation by which the published model was trained and finetuned
# (finetune.py of the published code, `load_audio`). It divides by the whole
# deviation, not by twice of it as AST does.
_MEAN = -5.081
_STD = 4.4849

_PRE_EMPHASIS = 0.97
_LOWEST_HZ = 20.0
_WINDOW_SECONDS = 0.025
_SHIFT_SECONDS = 0.010

# Kaldi's floor before the logarithm: the epsilon of float32.
_FLOOR = float(np.finfo(np.float32).eps)

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

  frames = _frame(pcm, window, shift, num_frames)
  frames -= frames.mean(axis=-1, keepdims=True)
  before = jnp.concatenate([frames[..., :1], frames[..., :-1]], axis=-1)
  power = _power(frames - _PRE_EMPHASIS * before)
  banks = mel_banks(sample_rate, power.shape[-1])
  mel = jnp.einsum(
    "BTK,MK->BTM", power, banks, precision=jax.lax.Precision.HIGHEST
  )
  x = jnp.log(jnp.maximum(mel, _FLOOR))

  valid_frames = (num_samples - window) // shift + 1
  in_clip = jnp.arange(num_frames) < valid_frames[:, None]
  x = jnp.where(in_clip[..., None], x, 0.0)
  too_short = (num_samples > 0) & (num_samples < window)
  x = jnp.where(too_short[:, None, None], _TOO_SHORT, x)
  return (x - _MEAN) / _STD


def _frame(
  pcm: jax.Array, window: int, shift: int, num_frames: int
) -> jax.Array:
  """Returns the overlapping frames [B, T, W] of float32 [B, N].

  A frame is a few neighbouring blocks of one shift each: slices of one
  reshape, which cost less than a gather of T * W indices.
  """
  blocks_per_frame = math.ceil(window / shift)
  num_blocks = num_frames + blocks_per_frame - 1
  pcm = pcm[:, : num_blocks * shift]
  pcm = jnp.pad(pcm, ((0, 0), (0, num_blocks * shift - pcm.shape[1])))
  blocks = pcm.reshape(-1, num_blocks, shift)
  shifted = [blocks[:, i : i + num_frames] for i in range(blocks_per_frame)]
  return jnp.concatenate(shifted, axis=-1)[..., :window]


def _power(frames: jax.Array) -> jax.Array:
  """Returns the power [B, T, K] of the windowed frames [B, T, W].

  The transform is one matrix product rather than an FFT: XLA does not
  partition an FFT, so a batch spread over devices would be gathered on each
  of them, and the product is at home on a TPU's matrix unit. On a CPU it costs
  about as much as the FFT, as memory traffic dominates both.
  """
  spectrum = jnp.einsum(
    "BTW,WC->BTC",
    frames,
    _windowed_dft(frames.shape[-1]),
    precision=jax.lax.Precision.HIGHEST,
  )
  real, imaginary = jnp.split(spectrum, 2, axis=-1)
  return jnp.square(real) + jnp.square(imaginary)


@functools.cache
def _windowed_dft(window: int) -> np.ndarray:
  """Returns cosines and sines of the transform, times the Hann window.

  The transform has the next power of two as its length F, as Kaldi's has.

  Args:
    window: W.

  Returns:
    float32 [W, 2 * K]: K cosines, then K sines, K = F / 2, as the Nyquist
    frequency has no mel weight.
  """
  num_points = 1 << (window - 1).bit_length()
  sample = np.arange(window)
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * sample / (window - 1))
  # Whole turns are taken off in integers, before the rounding of 2 pi.
  turns = np.outer(sample, np.arange(num_points // 2)) % num_points
  angle = 2 * np.pi * turns / num_points
  dft = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
  return (hann[:, None] * dft).astype(np.float32)


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
