"""A clip's filter banks are the encoder's, and can be drawn small."""

import io

import numpy as np
import pytest
from matplotlib import image

from ltu_jax.audio import fbank
from ltu_jax.audio.filter_banks import filter_banks, small_picture
from ltu_jax.audio.heard import hear
from wav_bytes import wav


def test_the_banks_are_those_of_the_encoder_without_padding():
  clip = hear(wav(1), "a.wav").clip
  banks = filter_banks(clip)
  whole = fbank.log_mel(clip[None], np.array([len(clip)]))[0]
  assert banks.shape == (98, 128)
  # The same operations, compiled once whole and once in parts.
  np.testing.assert_allclose(banks, whole[:98], atol=1e-4)
  padding = (0 - fbank.NORM_MEAN) / fbank.NORM_STD
  np.testing.assert_allclose(whole[98:], padding, rtol=1e-6)


@pytest.mark.parametrize(
  "frames, columns", [(1, 1), (512, 512), (513, 257), (1024, 512)]
)
def test_a_small_picture_has_its_lowest_bin_at_the_bottom(frames, columns):
  banks = np.zeros((frames, 128), np.float32)
  banks[:, 96:] = 1
  file = small_picture(banks)
  picture = image.imread(io.BytesIO(file), format="jpeg").astype(float)
  assert picture.shape == (128, columns, 3)
  # Magma goes from black to a light yellow: bins 96 to 127 are bright. JPEG
  # smears the edge over a block of 8.
  assert picture[:24].mean() > 200 and picture[40:].mean() < 10


def test_a_small_picture_of_noise_and_of_silence_is_small():
  noise = np.random.default_rng(0).normal(size=(1024, 128))
  # 512 x 128 points of noise: with 3 bits each, the most that a page can bear.
  assert len(small_picture(noise.astype(np.float32))) < 25_000
  assert len(small_picture(np.full((1024, 128), -1.2, np.float32))) < 3000
