"""Sound files by name: in any folder, with any ending, never the wrong one."""

import unicodedata

import pytest

from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets import youtube
from ltu_jax.evaluate.sets.audio_files import AudioFiles, stem


@pytest.fixture
def files(tmp_path):
  """Makes empty files and looks through their folder."""

  def make(*names):
    for name in names:
      (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / name).touch()
    return AudioFiles(tmp_path)

  return make


def found(files, *names, **how):
  path = files.find(names, **how)
  return path and path.relative_to(files.folder).as_posix()


def test_anywhere_below_the_folder(files):
  assert found(files("a/b/x.wav"), "/data/of/others/x.wav") == "a/b/x.wav"


def test_another_ending(files):
  both = files("x.flac", "x.WAV", "y.mp3")
  assert found(both, "x.flac") == "x.flac"
  assert found(both, "y.wav") == "y.mp3"
  assert found(both, "z.wav") is None


def test_the_first_name_that_is_there(files):
  assert found(files("x.flac", "y.wav"), "x.wav", "y.wav") == "y.wav"
  assert found(files("b/z_1.wav"), "z_2.wav", "z_1.wav") == "b/z_1.wav"


def test_folders_decide_between_files_of_one_name(files):
  two = files("dev/1.wav", "eval/1.wav")
  assert found(two, "eval/1.wav") == "eval/1.wav"
  assert found(two, "dev/1.wav") == "dev/1.wav"
  with pytest.raises(EvaluateError, match=r"dev/1.wav and .*eval/1.wav could"):
    two.find(["test/1.wav"])


def test_in_place_takes_no_other_folder(files):
  one = files("dev/1.flac")
  assert found(one, "eval/1.wav") == "dev/1.flac"
  assert found(one, "eval/1.wav", in_place=True) is None
  assert found(one, "dev/1.wav", in_place=True) == "dev/1.flac"


def test_dots_in_names(files):
  assert stem("a/Yabc_30.000_40.000.wav") == "Yabc_30.000_40.000"
  assert stem("Yabc_30.000") == "Yabc_30.000"
  one = files("Yabc_30.000_40.000.flac", "Yabc_30.500.flac")
  assert found(one, "Yabc_30.000_40.000.wav") == "Yabc_30.000_40.000.flac"
  assert found(one, "Yabc_30.wav") is None


def test_upper_and_lower_case_are_different(files):
  assert found(files("AbC.wav"), "abc.wav") is None


def test_decomposed_names(files):
  name = "Röst é.wav"
  decomposed = unicodedata.normalize("NFD", name)
  assert decomposed != name
  assert found(files(f"é/{decomposed}"), name) == f"é/{decomposed}"
  assert found(files(), unicodedata.normalize("NFD", name)) is not None


def test_what_is_no_sound(files):
  none = files("x.txt", "._x.wav", "x.wav.part")
  assert none.paths() == []
  assert found(none, "x.wav") is None


def test_links_are_followed_and_circles_end(files, tmp_path):
  files("real/x.wav")
  set_ = tmp_path / "set"
  set_.mkdir()
  (set_ / "audio").symlink_to(tmp_path / "real")
  (tmp_path / "real" / "up").symlink_to(tmp_path / "real")
  assert found(AudioFiles(set_), "x.wav") == "audio/x.wav"


def test_a_folder_that_is_not_there(tmp_path):
  assert AudioFiles(tmp_path / "none").paths() == []


# Names that common downloaders of AudioSet, VGGSound and AudioCaps give.
@pytest.mark.parametrize(
  "name",
  [
    *("-0DL_30.000_40.000", "Y-0DL_30.000_40.000", "-0DL_000030"),
    *("-0DL_30_40", "-0DL_30", "-0DL_30000_40000", "-0DL_30000"),
    *("-0DL", "Y-0DL"),
  ],
)
def test_youtube_clips(name, files):
  names = youtube.names("-0DL", 30, 40, alone=True)
  assert found(files(f"{name}.flac"), *names) == f"{name}.flac"


def test_youtube_clips_of_one_video(files):
  both = files("abc_000030.wav", "abc.wav")
  for start, path in ((30, "abc_000030.wav"), (60, None)):
    names = youtube.names("abc", start, start + 10, alone=False)
    assert found(both, *names) == path
