"""Each rule on audio, by a bad file that triggers it."""

import numpy as np
import pytest
from etils import epath

import made_up_openaqa as made_up
from ltu_jax.audio.decode import CLIP_SAMPLES, MIN_SAMPLES, AudioError, decode
from tfds_builders.openaqa.full import clip_audio

READ = clip_audio.reader("soundfile")


def load(tmp_path, data, name="clip.wav"):
  path = tmp_path / name
  path.write_bytes(data)
  return clip_audio.load(str(path), "clip", READ)


@pytest.mark.parametrize("kind", made_up.BAD_AUDIO)
def test_bad_audio_is_left_out_by_its_kind(tmp_path, kind):
  with pytest.raises(AudioError, match=r"^clip \(.*clip\.wav\): ") as caught:
    load(tmp_path, made_up.BAD_AUDIO[kind]())
  assert caught.value.kind == kind
  assert kind in clip_audio.LEFT_OUT


def test_a_file_that_is_gone_is_left_out(tmp_path):
  with pytest.raises(AudioError) as caught:
    clip_audio.load(str(tmp_path / "gone.wav"), "clip", READ)
  assert caught.value.kind == "unopened"


def test_a_huge_file_in_a_bucket_is_not_read_whole(tmp_path, monkeypatch):
  monkeypatch.setattr(clip_audio, "_MOST_BYTES", 1 << 20)
  file = epath.Path(tmp_path / "clip.wav")
  monkeypatch.setattr(clip_audio.epath, "Path", lambda _: file)
  data = made_up.encode(made_up.noise(1, 60.0), format_="WAV")
  file.write_bytes(data[: 1 << 20])
  with pytest.raises(AudioError, match="cut short"):  # read to its end
    clip_audio.load("gs://sounds/clip.wav", "clip", READ)
  file.write_bytes(data[: (1 << 20) + 1])
  with pytest.raises(AudioError, match=r"^clip \(gs:.*: over 1 MB") as caught:
    clip_audio.load("gs://sounds/clip.wav", "clip", READ)
  assert caught.value.kind == "too_long"


def test_there_is_a_bad_file_for_each_rule():
  # `missing` has no file, the others are tested above.
  kinds = set(made_up.BAD_AUDIO) | {"missing", "unopened", "too_long"}
  assert kinds == set(clip_audio.LEFT_OUT)
  by_name = {"ambiguous", "start_unchecked"}
  assert {*made_up.CHANGED_AUDIO} | by_name == set(clip_audio.CHANGED)


@pytest.mark.parametrize("kind", made_up.CHANGED_AUDIO)
def test_what_is_changed_is_told(tmp_path, kind):
  audio, changes = load(tmp_path, made_up.CHANGED_AUDIO[kind]())
  assert changes == [kind]
  assert audio[:4] == b"fLaC"


def test_a_clip_as_it_should_be_stays_bit_by_bit(tmp_path):
  pcm = made_up.noise(1, 2.0)
  audio, changes = load(tmp_path, made_up.encode(pcm), "clip.flac")
  assert not changes
  np.testing.assert_array_equal(decode(audio), pcm)


def test_of_several_channels_the_first_is_used(tmp_path):
  both = made_up.noise(6, 2.0).reshape(-1, 2)
  audio, _ = load(tmp_path, made_up.encode(both))
  np.testing.assert_array_equal(decode(audio), both[:, 0])


def test_ten_minutes_are_cut_to_what_the_model_hears(tmp_path):
  audio, changes = load(tmp_path, made_up._minutes())
  assert changes == ["resampled", "cut"]
  assert len(decode(audio)) == CLIP_SAMPLES


@pytest.mark.parametrize(
  ("num_samples", "changes"),
  [(CLIP_SAMPLES, []), (CLIP_SAMPLES + 1, ["cut"]), (MIN_SAMPLES, [])],
)
def test_the_bounds_are_exact(tmp_path, num_samples, changes):
  pcm = made_up.noise(1, 11.0)[:num_samples]
  audio, found = load(tmp_path, made_up.encode(pcm), "clip.flac")
  assert found == changes
  np.testing.assert_array_equal(decode(audio), pcm[:CLIP_SAMPLES])
  if num_samples == MIN_SAMPLES:
    with pytest.raises(AudioError, match="399 samples"):
      load(tmp_path, made_up.encode(pcm[1:]), "clip.flac")


def test_an_unknown_decoder_is_named():
  with pytest.raises(ValueError, match="'ffmpeg': there are soundfile and tf"):
    clip_audio.reader("ffmpeg")
