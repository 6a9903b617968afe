"""Which file an audio_id means, on folders as users have them."""

import unicodedata

import pytest

from tfds_builders.openaqa.full.audio_files import AudioFiles, Match, RootError


def files(tmp_path, *names, roots=("audio",)):
  """AudioFiles of a folder of empty files."""
  for name in names:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  return AudioFiles([tmp_path / root for root in roots])


def found(files, audio_id, tmp_path):
  match = files.match(audio_id)
  return match and match.path.removeprefix(f"{tmp_path}/")


PUBLISHED = "/data/sls/audioset/dave_version/audio/LZq4Neh-oWU.flac"


@pytest.mark.parametrize(
  "name",
  [
    "audio/LZq4Neh-oWU.flac",
    "audio/LZq4Neh-oWU.wav",
    "audio/deep/er/LZq4Neh-oWU.MP3",
    "audio/YLZq4Neh-oWU.wav",
    "audio/LZq4Neh-oWU_30.000_40.000.wav",
    "audio/YLZq4Neh-oWU_30.000_40.000.ogg",
  ],
)
def test_a_published_id_is_found_under_the_usual_names(tmp_path, name):
  assert found(files(tmp_path, name), PUBLISHED, tmp_path) == name


@pytest.mark.parametrize(
  ("audio_id", "name"),
  [
    # VGGSound: start of the clip in seconds behind the id.
    ("x/LZq4Neh-oWU_000030.wav", "audio/LZq4Neh-oWU_000030.flac"),
    ("x/LZq4Neh-oWU_000030.wav", "audio/LZq4Neh-oWU.flac"),
    # AudioCaps: Y in front; an id may itself begin with one.
    ("YLZq4Neh-oWU.wav", "audio/LZq4Neh-oWU.flac"),
    ("YZq4Neh-oWU.wav", "audio/YYZq4Neh-oWU.wav"),
    # No suffix, dots in the name, the other slash.
    ("a\\b\\door no. 3", "audio/door no. 3.wav"),
    ("64760.flac", "audio/fsd50k/64760.wav"),
  ],
)
def test_ids_of_the_other_sources(tmp_path, audio_id, name):
  assert found(files(tmp_path, name), audio_id, tmp_path) == name


@pytest.mark.parametrize(
  "name",
  [
    # Another clip of the same video, another video, not a YouTube id.
    "audio/LZq4Neh-oWU_000090.wav",
    "audio/LZq4Neh-oWV_000030.wav",
    "audio/LZq4Neh-oWU_000030_more.wav",
    "audio/lzq4neh-owu_000030.wav",
  ],
)
def test_what_is_another_clip_is_not_taken(tmp_path, name):
  assert files(tmp_path, name).match("LZq4Neh-oWU_000030.wav") is None


def test_the_whole_clip_goes_before_one_of_its_starts(tmp_path):
  # LZ is listed before YLZ.
  table = files(
    tmp_path, "audio/LZq4Neh-oWU_30.000_40.000.wav", "audio/YLZq4Neh-oWU.wav"
  )
  assert found(table, PUBLISHED, tmp_path) == "audio/YLZq4Neh-oWU.wav"


def test_one_of_several_starts_is_ambiguous(tmp_path):
  names = ("audio/LZq4Neh-oWU_000010.wav", "audio/LZq4Neh-oWU_000030.wav")
  table = files(tmp_path, *names)
  match = table.match(PUBLISHED)
  assert match.is_ambiguous
  assert match.path.endswith("_000010.wav")
  assert not table.match("YLZq4Neh-oWU_000030.flac").is_ambiguous


@pytest.mark.parametrize(
  ("audio_id", "name", "is_checked"),
  [
    # One start, written as VGGSound and as AudioSet's tools do.
    ("LZq4Neh-oWU_000030.wav", "audio/YLZq4Neh-oWU_30.000_40.000.wav", True),
    ("LZq4Neh-oWU.wav", "audio/YLZq4Neh-oWU.wav", True),
    ("LZq4Neh-oWU.wav", "audio/LZq4Neh-oWU_000030.wav", False),
    ("LZq4Neh-oWU_000030.wav", "audio/LZq4Neh-oWU.wav", False),
  ],
)
def test_a_start_on_one_side_alone_is_told(
  tmp_path, audio_id, name, is_checked
):
  match = files(tmp_path, name).match(audio_id)
  assert match.path == str(tmp_path / name)
  assert match.has_start_on_one_side != is_checked


def test_thousands_of_files_of_one_name_are_told_apart(tmp_path):
  names = [f"audio/{i // 2}/clip{i}/audio.wav" for i in range(3000)]
  table = files(tmp_path, *names)
  assert table.num_files == 3000
  for i in range(3000):
    match = table.match(f"/elsewhere/clip{i}/audio.flac")
    assert match == Match(f"clip{i}/audio", str(tmp_path / names[i]))
  assert table.match("x/audio.wav").is_ambiguous


def test_the_digest_tells_whether_files_came_or_went(tmp_path):
  before = files(tmp_path, "audio/a.wav", "audio/note.txt").digest
  assert files(tmp_path, "audio/other.txt").digest == before
  assert files(tmp_path, "audio/b.wav").digest != before


def test_accents_match_however_they_are_written(tmp_path):
  composed = unicodedata.normalize("NFC", "Café noise")
  apart = unicodedata.normalize("NFD", "Café noise")
  assert composed != apart
  table = files(tmp_path, f"audio/{apart}.wav")
  match = table.match(f"clotho/{composed}.flac")
  assert match.clip_id == composed


def test_of_one_name_the_file_with_the_same_folders_is_taken(tmp_path):
  table = files(
    tmp_path,
    "audio/fsd50k/train/123.wav",
    "audio/freesound/123.flac",
    "audio/fsd50k/val/123.wav",
  )
  assert table.match("/d/freesound/123.flac") == Match(
    "freesound/123", str(tmp_path / "audio/freesound/123.flac")
  )
  # Names that need two folders to be told apart have two.
  assert table.match("/d/fsd50k/val/123.flac").clip_id == "val/123"
  unclear = table.match("/d/other/123.flac")
  assert unclear.is_ambiguous
  assert unclear.path.endswith("freesound/123.flac")


def test_two_formats_in_each_of_two_folders_are_two_clips(tmp_path):
  table = files(
    tmp_path,
    *(
      f"audio/{top}/b/x.{kind}"
      for top in ("one", "two")
      for kind in ("au", "wav")
    ),
  )
  matches = [table.match(f"{top}/b/x.flac") for top in ("one", "two")]
  assert [match.clip_id for match in matches] == ["one/b/x", "two/b/x"]
  assert all(match.is_ambiguous for match in matches)
  alone = files(tmp_path / "alone", "audio/x.wav", "audio/x.flac")
  assert alone.match("x").clip_id == "x"


def test_a_folder_whose_name_is_no_utf8_is_part_of_a_name(tmp_path):
  table = files(tmp_path, "audio/caf\udce9/x.wav", "audio/b/x.wav")
  match = table.match("other/b/x.wav")
  assert match.clip_id == "b/x"
  (tmp_path / "audio/b/x.wav").unlink()
  table = files(tmp_path, "audio/caf\udce9/x.wav", "audio/\udcff/x.wav")
  assert table.match("x.wav").clip_id == "caf?/x"


def test_the_root_named_first_goes_first(tmp_path):
  names = ("b/one.wav", "a/one.wav")
  for roots in (("a", "b"), ("b", "a")):
    table = files(tmp_path, *names, roots=roots)
    match = table.match("one.flac")
    assert match.path == str(tmp_path / roots[0] / "one.wav")
    assert match.clip_id == f"{roots[0]}/one"


def test_roots_in_each_other_and_links_in_a_circle(tmp_path):
  (tmp_path / "audio" / "in").mkdir(parents=True)
  (tmp_path / "audio" / "in" / "up").symlink_to(tmp_path / "audio")
  table = files(
    tmp_path, "audio/in/one.wav", roots=("audio", "audio/in", "audio/./in")
  )
  assert table.num_files == 1
  assert table.match("one.wav").clip_id == "one"


def test_files_that_cannot_be_read_are_counted(tmp_path):
  table = files(tmp_path, "audio/a.mp4", "audio/b.wav", "audio/c.txt")
  assert table.num_files == 1
  assert table.unread == {".mp4": 1}
  assert table.match("a.flac") is None


@pytest.mark.parametrize(
  ("names", "reason"),
  [
    ((), "audio: is no folder; give another as audio_roots"),
    (("audio/a.txt",), "no sound file in"),
    (("audio/a.mp4", "audio/b.m4a"), r"\(but 1 .mp4, 1 .m4a, which soundfile"),
  ],
)
def test_roots_that_cannot_be_used(tmp_path, names, reason):
  with pytest.raises(RootError, match=reason):
    files(tmp_path, *names)
