"""Filter banks against the published collator and kaldi-native-fbank."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import kaldi_native_fbank as knf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ltu_jax.audio import fbank

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "fbank.npz"

# golden/README.md: float32 and float64 runs of the published code differ by
# 5e-4 at single cells and 4e-5 at 99.9 % of them; ten times that leaves room
# for another order of summation.
SINGLE_CELL = 5e-3
MOST_CELLS = 4e-4

# One row of zeros: (0 + 5.081) / 4.4849, given as 1.1329 in REFERENCE.md.
PADDING = 1.1329126


@functools.cache
def golden():
  with np.load(GOLDEN) as arrays:
    return dict(arrays)


def run(pcm, num_samples=None, **kwargs):
  """One clip [N] through log_mel, compiled; returns [T, 128]."""
  n = pcm.shape[-1] if num_samples is None else num_samples
  compiled = jax.jit(functools.partial(fbank.log_mel, **kwargs))
  return np.asarray(compiled(jnp.asarray(pcm)[None], jnp.array([n])))[0]


def assert_close(got, want):
  error = np.abs(got - want)
  assert error.max() < SINGLE_CELL
  assert np.quantile(error, 0.999) < MOST_CELLS


@pytest.mark.parametrize(
  "case",
  [
    "full_10s24",
    "short_3s7",
    "long_14s",
    "rate44k1_3s",
    "silence_1s",
    "tiny_20ms",
  ],
)
def test_equals_the_published_features(case):
  pcm = golden()[f"{case}/pcm"]
  rate = int(golden()[f"{case}/sample_rate"])
  assert_close(run(pcm, sample_rate=rate), golden()[f"{case}/fbank"])


def test_stereo_needs_only_its_first_channel():
  # The published code takes the mean over both channels off channel 0. Any
  # constant is taken off each frame again, so channel 0 alone, and even
  # channel 0 with another constant on it, gives the same features.
  left = golden()["stereo_2s/pcm"][0]
  want = golden()["stereo_2s/fbank"]
  assert_close(run(left), want)
  assert_close(run(left.astype(np.float32) / 32768 + 0.25), want)


def test_mel_filters_equal_kaldis():
  want = golden()["mel_banks_16k"]
  got = fbank.mel_banks(16000, 256)
  # The published filters were computed in float32, with mel values up to 2840:
  # rounding of 2840 * 6e-8 = 1.7e-4 mel over filters about 22 mel wide.
  np.testing.assert_allclose(got, want, atol=2e-5)
  np.testing.assert_array_equal(np.flatnonzero(~got.any(axis=1)), [3])


def test_int16_and_float32_agree_exactly():
  pcm = golden()["short_3s7/pcm"]
  np.testing.assert_array_equal(run(pcm), run(pcm.astype(np.float32) / 32768))


def kaldi(pcm):
  """Unnormalised features [T, 128] of int16 [N] by kaldi-native-fbank."""
  options = knf.FbankOptions()
  options.frame_opts.samp_freq = 16000
  options.frame_opts.dither = 0
  options.frame_opts.window_type = "hanning"
  options.mel_opts.num_bins = 128
  options.use_energy = False
  extractor = knf.OnlineFbank(options)
  extractor.accept_waveform(16000, (pcm / 32768).astype(np.float32).tolist())
  extractor.input_finished()
  frames = [extractor.get_frame(i) for i in range(extractor.num_frames_ready)]
  return np.stack(frames)


# Compiled once for all lengths: the lengths are data, as in training.
compiled_log_mel = jax.jit(fbank.log_mel)


@settings(max_examples=15, deadline=None)
@given(
  length=st.one_of(
    st.integers(400, 48000), st.sampled_from([400, 559, 560, 561, 719, 720])
  ),
  loudness=st.sampled_from([3, 300, 20000]),
  seed=st.integers(0, 2**31),
)
def test_equals_kaldi_native_fbank_at_any_length(length, loudness, seed):
  rng = np.random.default_rng(seed)
  noise = loudness * np.clip(rng.standard_normal(48000), -1.5, 1.5)
  # What lies behind num_samples is loud on purpose: it must not show.
  pcm = noise.astype(np.int16)
  got = np.asarray(compiled_log_mel(pcm[None], jnp.array([length])))[0]
  want = kaldi(pcm[:length])
  num_frames = (length - 400) // 160 + 1
  assert len(want) == num_frames
  assert_close(got[:num_frames], (want + 5.081) / 4.4849)
  # A constant of the formula; float32 rounding only.
  np.testing.assert_allclose(got[num_frames:], PADDING, rtol=1e-6)


def test_a_clip_is_full_at_exactly_clip_samples():
  assert fbank.CLIP_SAMPLES == 400 + 1023 * 160
  pcm = np.full((2, fbank.CLIP_SAMPLES), 0, np.int16)
  pcm[:, ::2] = 1000
  lengths = jnp.array([fbank.CLIP_SAMPLES, fbank.CLIP_SAMPLES - 1])
  got = np.asarray(compiled_log_mel(pcm, lengths))
  is_padding = np.isclose(got, PADDING, rtol=1e-6).all(axis=-1)
  assert is_padding.sum(axis=-1).tolist() == [0, 1]


@pytest.mark.parametrize("num_samples", [1, 320, 399])
def test_shorter_than_a_window_is_the_published_constant(num_samples):
  pcm = np.full(16000, 5000, np.int16)
  got = run(pcm, num_samples)
  # (0.01 + 5.081) / 4.4849; float32 rounding only.
  np.testing.assert_allclose(got, 1.1351423, rtol=1e-6)


def test_no_clip_is_all_padding():
  # Float32 rounding only.
  np.testing.assert_allclose(run(np.ones(800, np.int16), 0), PADDING, rtol=1e-6)


def test_silence_is_finite_and_at_the_floor():
  got = run(np.zeros(16000, np.int16))
  # (log(1.1920929e-07) + 5.081) / 4.4849; float32 rounding only.
  np.testing.assert_allclose(got[:98], -2.4217675, rtol=1e-6)
  np.testing.assert_allclose(got[98:], PADDING, rtol=1e-6)


@pytest.mark.parametrize("num_frames", [1, 63, 100, 1030])
def test_fewer_or_more_frames_are_the_same_frames(num_frames):
  pcm = golden()["long_14s/pcm"]
  got = run(pcm, num_frames=num_frames)
  assert got.shape == (num_frames, 128)
  n = min(num_frames, 1024)
  assert_close(got[:n], golden()["long_14s/fbank"][:n])


def test_num_samples_beyond_the_array_adds_no_frames():
  pcm = golden()["short_3s7/pcm"][:8000]
  np.testing.assert_array_equal(run(pcm, 99999), run(pcm, 8000))


def test_a_row_does_not_depend_on_its_neighbours():
  rng = np.random.default_rng(0)
  pcm = rng.integers(-9000, 9000, (3, 8000), dtype=np.int16)
  lengths = np.array([8000, 1234, 0])
  together = np.asarray(fbank.log_mel(pcm, jnp.asarray(lengths)))
  for row, length, got in zip(pcm, lengths, together, strict=True):
    # A matrix product may sum in another order for another batch.
    np.testing.assert_allclose(got, run(row, length), atol=SINGLE_CELL)


def test_a_batch_over_devices_is_not_gathered():
  mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
  by_row = NamedSharding(mesh, PartitionSpec("data"))
  lowered = jax.jit(
    fbank.log_mel, in_shardings=by_row, out_shardings=by_row
  ).lower(
    jax.ShapeDtypeStruct((16, 16000), jnp.int16),
    jax.ShapeDtypeStruct((16,), jnp.int32),
  )
  program = lowered.compile().as_text()
  assert "all-gather" not in program
  assert "all-to-all" not in program


@pytest.mark.parametrize("dtype", [np.int32, np.float16])
def test_another_number_type_is_an_error(dtype):
  with pytest.raises(TypeError, match="int16 or float32"):
    fbank.log_mel(jnp.zeros((1, 800), dtype), jnp.array([800]))
