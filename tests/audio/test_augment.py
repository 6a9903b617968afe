import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltu_jax.audio.augment import Augment

FBANK = np.random.default_rng(0).normal(size=(64, 20, 128)).astype(np.float32)


def test_off_changes_nothing():
  assert Augment()(jax.random.key(0), FBANK) is FBANK


def test_filter_is_one_curve_a_clip_of_the_stated_size():
  got = Augment(filter_db=6.0)(jax.random.key(0), FBANK) - FBANK
  # Adding and subtracting values near 4 leaves 5e-7 of float32 rounding.
  np.testing.assert_allclose(got, got[:, :1].repeat(20, 1), atol=2e-6)
  # At the first knot the curve has the stated deviation: natural logarithm of
  # power, over the normalisation's 4.4849; 64 draws, four sigma = 35 %.
  decibels = np.asarray(got)[:, 0, 0] * 4.4849 * 10 / np.log(10)
  assert decibels.std() == pytest.approx(6.0, rel=0.35)


def test_shift_moves_whole_clips_by_whole_bins():
  got = np.asarray(Augment(mel_shift=3)(jax.random.key(0), FBANK))
  shifts = set()
  for row, clip in zip(got, FBANK, strict=True):
    found = [
      s
      for s in range(-3, 4)
      if (row[:, 3:-3] == clip[:, 3 + s : 125 + s]).all()
    ]
    assert len(found) == 1
    shifts |= set(found)
  assert shifts == set(range(-3, 4))


def test_rows_differ_and_keys_repeat():
  augment = jax.jit(Augment(filter_db=3.0, mel_shift=2))
  same = jnp.broadcast_to(FBANK[:1], (4, 20, 128))
  one = augment(jax.random.key(1), same)
  assert not np.array_equal(one[0], one[1])
  assert np.array_equal(one, augment(jax.random.key(1), same))
