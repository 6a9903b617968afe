"""What is read of small tables in their owners' formats, and what is not."""

import pytest

import made_up_sources
from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.records import ClipRecord, Event, Span
from ltu_jax.aqa.sources.catalog import KINDS, Source
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets.audio_files import AudioFiles


def _labels(*labels):
  return tuple(map(Event, labels))


_ALARM = Event("Alarm", spans=(Span(0, 10),))
_MAN = Event(
  "Male speech, man speaking", spans=(Span(0.44, 1.25), Span(4.753, 5.72))
)
_STRONG = ClipRecord("b0RFKhbpFJA", "as_strong_train", (_ALARM, _MAN))
_OTHER = ClipRecord(
  "-x_y-z_0aB1",
  "as_strong_train",
  (Event("Human group actions", spans=(Span(2, 2),)),),
)
_SAID = [f"A dog barks {times}" for times in ("once", "twice", "far, far away")]

# By the source; split and audio are looked at below.
_READ = {
  "audioset:balanced_train_segments.csv": [
    ClipRecord(
      "--4gqARaEJE", "as_20k", _labels("Male speech, man speaking", "Radio")
    ),
    ClipRecord("LZq4Neh-oWU", "as_20k", _labels("Bell")),
  ],
  "audioset@mine:balanced_train_segments.csv,class_labels_indices.csv": [
    ClipRecord("--4gqARaEJE", "mine", _labels("Man, speaking", "Radio")),
    ClipRecord("LZq4Neh-oWU", "mine", _labels("Bell")),
  ],
  "audioset:balanced_train_segments.csv,ontology.json": [
    ClipRecord("--4gqARaEJE", "as_20k", _labels("Man", "Radio")),
    ClipRecord("LZq4Neh-oWU", "as_20k", _labels("Bell")),
  ],
  "audioset_strong:audioset_train_strong.tsv": [_STRONG, _OTHER],
  "audioset_strong:audioset_train_strong.tsv,AudioSet_SL.json": [
    ClipRecord(
      _STRONG.id,
      _STRONG.dataset,
      _STRONG.events,
      ("An alarm rings while a man speaks.",),
    ),
    _OTHER,
  ],
  "vggsound:vggsound.csv": [
    ClipRecord(
      "--0PQM4-hqg_000030", "vggsound_train", _labels("waterfall burbling")
    ),
    ClipRecord(
      "-0DLPzsiXXE_000030",
      "vggsound_train",
      _labels("bee, wasp, etc. buzzing"),
    ),
    ClipRecord("-0DLPzsiXXE_000090", "vggsound_train", _labels("dog barking")),
  ],
  "fsd50k:dev.csv": [
    ClipRecord(
      "64760", "fsd50k_train", _labels("Electric guitar", "Guitar", "Music")
    ),
    ClipRecord("16399", "fsd50k_val", _labels("Tap")),
  ],
  "fsd50k:eval.csv": [ClipRecord("37199", "fsd50k_eval", _labels("Tap"))],
  "esc50:esc50.csv": [
    ClipRecord("1-100032-A-0", "esc50", _labels("dog")),
    ClipRecord("5-9032-A-0", "esc50", _labels("brushing teeth")),
  ],
  "audiocaps:train.csv": [
    ClipRecord("r1nicOVtvkQ", "audiocaps_train", captions=(_SAID[0],)),
    ClipRecord("7fmOlUlwoNg", "audiocaps_train", captions=(_SAID[2],)),
  ],
  "audiocaps:val.csv": [
    ClipRecord("vfY_TJq7n_U", "audiocaps_val", captions=tuple(_SAID[:2])),
    ClipRecord("rqu8iB22I_Y", "audiocaps_val", captions=(_SAID[0],)),
  ],
  "clotho:clotho_captions_development.csv": [
    ClipRecord(name, "clotho_development", captions=(*_SAID, *_SAID[:2]))
    for name in ("Distorted AM Radio noise", "Röst i ett rum, 03")
  ],
  "freesound:fsd_final.json": [
    ClipRecord("180913", "freesound", captions=("Rain falls.",)),
    ClipRecord("7", "freesound", captions=("Wind.", "It is windy.")),
  ],
  "freesound:sb_final.json": [
    ClipRecord("2219", "soundbible", captions=("A jet.",))
  ],
  "jsonl:own.jsonl": [
    ClipRecord(
      "one",
      "mine",
      (
        Event("Bell", spans=(Span(0.5, 9),)),
        Event("Tap", "Dull", (Span(1, 2), Span(4, 5.5))),
      ),
      ("A tap.",),
    ),
    ClipRecord("two", "own", captions=("Wind.",)),
  ],
}


def _source(folder, text):
  kind, _, names = text.partition(":")
  paths = ",".join(str(folder / name) for name in names.split(","))
  return Source.parse(f"{kind}:{paths}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """All tables, and the sounds of all clips."""
  path = made_up_sources.write(tmp_path_factory.mktemp("sources"))
  made_up_sources.write_sounds(path / "audio")
  return path


@pytest.mark.parametrize("source", _READ)
def test_read(source, folder):
  clips = list(_source(folder, source).read())
  files = AudioFiles(folder / "audio")
  found = set()
  for clip, expected in zip(clips, _READ[source], strict=True):
    record = clip.record
    assert record == ClipRecord(
      expected.id,
      expected.dataset,
      expected.events,
      expected.captions,
      clip.names[0],
      record.split,
    )
    assert clip.where.startswith(str(folder))
    found.add(files.find(clip.names, in_place=clip.in_place))
  assert None not in found and len(found) == len(clips)


def test_all_kinds_are_read():
  kinds = {source.partition(":")[0].partition("@")[0] for source in _READ}
  assert kinds | {"folder"} == KINDS.keys()


def test_splits(folder):
  splits = {
    clip.record.id: clip.record.split
    for source in _READ
    for clip in _source(folder, source).read()
  }
  assert splits["--4gqARaEJE"] == splits["64760"] == "train"
  assert splits["b0RFKhbpFJA"] == splits["r1nicOVtvkQ"] == "train"
  assert splits["16399"] == splits["vfY_TJq7n_U"] == "val"
  assert splits["37199"] == "eval"
  assert splits["5-9032-A-0"] == "fold5"
  assert splits["Röst i ett rum, 03"] == "development"
  assert (splits["one"], splits["two"], splits["7"]) == ("a", "", "")


def test_a_folder_of_classes(tmp_path):
  names = ("Dog_bark/a.wav", "Dog_bark/deep/b.flac", "Rain/a.wav")
  made_up_sources.write_sounds(tmp_path / "mine", names)
  clips = list(Source.parse(f"folder:{tmp_path / 'mine'}").read())
  assert [clip.record for clip in clips] == [
    ClipRecord("Dog_bark/a", "mine", _labels("Dog bark"), audio=names[0]),
    ClipRecord("Dog_bark/deep/b", "mine", _labels("Dog bark"), audio=names[1]),
    ClipRecord("Rain/a", "mine", _labels("Rain"), audio=names[2]),
  ]


def test_lengths_are_known_where_the_table_has_them(folder):
  clips = _source(folder, "freesound:fsd_final.json").read()
  assert [clip.seconds for clip in clips] == [9.5, 300]


_SEGMENTS = "audioset:balanced_train_segments.csv"
_STRONG_TABLE = "audioset_strong:audioset_train_strong.tsv"
_ALARM_ROW = "b0RFKhbpFJA_30000\t0\t1\t/m/05zppz\n"
_OTHER_ROW = "ab_1\t0\t1\t/m/05zppz\n"
_CLOTHO = "clotho:clotho_captions_development.csv"
_FSD = "freesound:fsd_final.json"
_OWN = "jsonl:own.jsonl"


@pytest.mark.parametrize(
  ("source", "old", "new", "words"),
  [
    (_SEGMENTS, "/m/06bz3", "/x", "line 4: .*'/x'"),
    (
      f"{_SEGMENTS},class_labels_indices.csv",
      "display_name",
      "name",
      "line 1: no column display_name",
    ),
    (_STRONG_TABLE, "2.000\t/t", "1\t/t", "line 5: 2-1 s ends"),
    (_STRONG_TABLE, "/t/dd0", "/t/x", "line 5: unknown class '/t/x"),
    (_STRONG_TABLE, "_0\t", "_a\t", "line 5: .*YTID_MILLI"),
    (
      _STRONG_TABLE,
      "-x_y-z",
      f"{_OTHER_ROW}{_ALARM_ROW}-x_y-z",
      "line 6: b0RFKhbpFJA_30000 comes again",
    ),
    ("vggsound:vggsound.csv", "waterfall", "water", "line 2: unknown class"),
    ("fsd50k:dev.csv", "Tap", "Tapp", "line 3: unknown class 'Tapp'"),
    ("esc50:esc50.csv", ",dog,", ",cow_,", "line 2: unknown class"),
    ("audiocaps:train.csv", "130", "soon", "line 2: 'soon' is no number"),
    (_CLOTHO, "A dog barks twice", " ", "line 2: caption_2 is missing"),
    (_FSD, '"Rain falls."', "3", "entry 1: caption is int"),
    (_FSD, '"data"', '"date"', "a list under 'data'"),
    (_FSD, "9.5", '"9"', "entry 1: duration"),
    (_OWN, "[1, 2]", "[2, 1]", "line 1: Tap: a span"),
    (_OWN, '"label": "Bell"', '"lable": 1', "line 1: an event's label"),
    (_OWN, '"captions": ["Wind."]', '"caption": "x"', "line 3: .*neither"),
    (_OWN, '{"id": "two"', '{"id": two', "line 3: no JSON"),
  ],
)
def test_damage_is_one_error_with_its_line(source, old, new, words, tmp_path):
  made_up_sources.write(tmp_path)
  name = source.partition(":")[2].split(",")[-1]
  text = (tmp_path / name).read_text()
  assert old in text
  (tmp_path / name).write_text(text.replace(old, new))
  with pytest.raises(EvaluateError, match=rf"{name}.*{words}"):
    list(_source(tmp_path, source).read())


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("audioset", "KIND.*is one of audioset, audioset_strong, vggsound"),
    ("audoset:own.jsonl", "one of audioset"),
    ("jsonl:none.jsonl", "none.jsonl is not there"),
    ("jsonl:own.jsonl,own.jsonl", "name records of our own, and no more"),
    ("audioset_strong:audioset_train_strong.tsv", "mid_to_display_name.tsv"),
    ("audioset:balanced_train_segments.csv,own.jsonl", "names of classes"),
    ("folder:own.jsonl", "is no folder"),
  ],
)
def test_a_source_that_is_none(text, words, tmp_path, monkeypatch):
  made_up_sources.write(tmp_path)
  (tmp_path / "mid_to_display_name.tsv").unlink()
  monkeypatch.chdir(tmp_path)
  with pytest.raises(AqaError, match=words):
    list(Source.parse(text).read())
