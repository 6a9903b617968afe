"""A clip's picture shows what the model hears."""

import io

import pytest
from matplotlib import image

from ltu_jax.audio.heard import hear
from ltu_jax.serve import pictures
from wav_bytes import wav


@pytest.mark.parametrize(
  "seconds, level, until, frames",
  [
    (3, 0.3, 3, 298),
    (3, 0, 3, 298),
    (0.03, 0.3, 0.03, 1),
    (12, 0.3, 12, 1024),
    (20, 0.3, 12.8, 1024),
  ],
)
def test_axes_are_seconds_and_mel_bins(seconds, level, until, frames):
  sound = wav(seconds, level=level)
  heard = hear(sound, "a.wav", seconds=pictures.SHOWN_SECONDS)
  wave, mel = pictures.figure(heard).axes
  assert wave.get_xlim() == mel.get_xlim() == pytest.approx((0, until))
  assert mel.get_xlabel() == "seconds" and mel.get_ylabel() == "mel bin"
  assert mel.get_ylim() == (-0.5, 127.5)
  (banks,) = mel.get_images()
  assert banks.get_array().shape == (128, frames)
  # Each frame is drawn around the middle of its 25 ms.
  left, right, *_ = banks.get_extent()
  assert (left, right) == pytest.approx((0.0075, 0.0075 + frames / 100))
  said = [text.get_text() for text in mel.texts]
  assert said == (["not heard"] if seconds > 10.3 else [])


def test_the_picture_is_small_and_not_empty():
  heard = hear(wav(11), '"<b>.wav')
  file = pictures.png(heard)
  assert len(file) < 400_000
  assert image.imread(io.BytesIO(file)).shape == (513, 864, 4)
  assert 'of &quot;&lt;b&gt;.wav"' in pictures.image_tag(heard)
