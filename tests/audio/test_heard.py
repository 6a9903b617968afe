"""What is heard of a sound, and what is said about it."""

import pytest

from ltu_jax.audio import fbank
from ltu_jax.audio.decode import AudioError
from ltu_jax.audio.heard import hear
from wav_bytes import wav


def test_a_plain_clip_is_heard_as_it_is():
  heard = hear(wav(2), "a.wav")
  assert heard.all_notes == ()
  assert not heard.cut and len(heard.clip) == 32000


def test_the_note_says_what_was_done():
  heard = hear(wav(11, 44100, 2), "a.wav")
  assert heard.notes == ("resampled from 44100 Hz", "first of 2 channels taken")
  assert heard.all_notes == (
    *heard.notes,
    "only the first 10.24 s of 11.0 s are heard",
  )
  assert len(heard.clip) == fbank.CLIP_SAMPLES
  assert len(heard.pcm) > len(heard.clip)


def test_silence_is_named():
  assert hear(wav(1, level=0), "a.wav").all_notes == ("digital silence",)


def test_all_of_it_can_be_read():
  heard = hear(wav(30), "a.wav", seconds=None)
  assert len(heard.pcm) == 480_000 and heard.cut


@pytest.mark.parametrize(
  "sound, why",
  [
    (b"", "a.wav: the file is empty"),
    (b"no sound", "a.wav: cannot be decoded"),
    (wav(0.02), r"a.wav: 20\.0 ms of sound are too short"),
  ],
)
def test_what_cannot_be_heard_is_an_error(sound, why):
  with pytest.raises(AudioError, match=why):
    hear(sound, "a.wav")
