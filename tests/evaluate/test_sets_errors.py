"""Damaged metadata: one message with the file and the line."""

import json

import pytest

import made_up_sets
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets.catalog import SETS
from ltu_jax.evaluate.sets.reading import SetNotThereError

ESC50 = "filename,fold,target,category,esc10,src_file,take\n"
VGG = "vggsound.csv"
TE = "datafiles/te.json"
FSD = "FSD50K.ground_truth/eval.csv"
TUT = "evaluation_setup/evaluate.txt"
DOG = "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
ROW = made_up_sets.published_row("1-100032-A-0", "Labels: dog")
QUESTION = {
  "id": "1",
  "audio_id": "1.wav",
  "question": "Who?",
  "choices": ["Man", "Woman"],
  "answer": "Man",
  "task": "sound",
}
AIR = {
  "uniq_id": 1,
  "path": "1.wav",
  "task_name": "Sound_AQA",
  "dataset_name": "avqa",
  "question": "Who?",
  "choice_a": "Man",
  "choice_b": "Woman",
  "answer_gt": "Man",
}


def fails(folder, name, match):
  with pytest.raises(EvaluateError, match=match) as caught:
    SETS[name].find(folder)
  message = str(caught.value)
  assert message.count("\n") == 0
  assert message.endswith(".")
  assert not message.endswith("..")


@pytest.mark.parametrize(
  ("text", "match"),
  [
    ("", "esc50.csv: lists nothing"),
    (ESC50, "esc50.csv: lists nothing"),
    ("filename,fold\n", "esc50.csv, line 1: no column category"),
    (ESC50 + "a.wav,1\n", "esc50.csv, line 2: 2 cells under 7 columns"),
    (ESC50 + DOG + DOG, "line 3: 1-100032-A-0 is there twice"),
    (ESC50 + "a.wav,1,0,dogs,,,\n", "line 2: unknown class 'dogs'"),
    (ESC50 + ",1,0,dog,,,\n", "line 2: filename is missing or empty"),
    (ESC50 + '\n"a.wav,1,0,dog,,,\n', "line 3: unexpected end of data"),
    (ESC50 + DOG.replace("dog", "d\xf6g"), "line 2: no UTF-8"),
  ],
)
def test_csv(text, match, tmp_path):
  path = tmp_path / "esc50" / "meta" / "esc50.csv"
  path.parent.mkdir(parents=True)
  path.write_bytes(text.encode("latin-1"))
  made_up_sets.sound(tmp_path / "esc50" / "audio" / "1-100032-A-0.wav")
  fails(tmp_path / "esc50", "esc50", match)


def test_csv_with_a_mark_and_other_line_ends(tmp_path):
  folder = made_up_sets.make(tmp_path, "esc50")
  path = folder / "meta" / "esc50.csv"
  rows = path.read_bytes().replace(b"\n", b"\r\n")
  path.write_bytes(b"\xef\xbb\xbf" + rows + b"\r\n")
  assert SETS["esc50"].find(folder).total == 3


@pytest.mark.parametrize(
  ("name", "file", "text", "match"),
  [
    ("vggsound", VGG, "abc,1,dog barking\n", "line 1: 3 cells"),
    (
      "vggsound",
      VGG,
      "abc,x,dog barking,test\n",
      "'x' is no number",
    ),
    ("vggsound", VGG, "abc,-1,dog barking,test\n", "-1 is no time"),
    (
      "vggsound",
      VGG,
      "abc,nan,dog barking,test\n",
      "nan is no time",
    ),
    ("vggsound", VGG, "abc,1,dog,test\n", "unknown class 'dog'"),
    ("audioset", "eval_segments.csv", 'abc, 0, 10, "/m/0"\n', "class '/m/0'"),
    (
      "fsd50k",
      FSD,
      "fname,labels\n1,Cow\n",
      "'Cow'",
    ),
    (
      "tut2017",
      TUT,
      "audio/1.wav bus\n",
      "1 cells",
    ),
    ("vocalsound", TE, "[]", "a list under 'data'"),
    ("vocalsound", TE, '{"data": [1]}', "entry 1: an object"),
    ("vocalsound", TE, "{", r"te\.json, entry 1: .*premature EOF"),
    ("vocalsound", TE, '{"date": [{}]}', "a list under 'data'"),
    ("vocalsound", TE, '{"x": {"data": [{}]}}', "a list under 'data'"),
    ("vocalsound", TE, '{"data": {}}', "a list under 'data'"),
    (
      "vocalsound",
      TE,
      '{"data": [{"wav": "a/f1_0_snore.wav"}]}',
      "entry 1: unknown class 'snore'",
    ),
    (
      "clotho",
      "clotho_captions_evaluation.csv",
      "file_name,caption_1,caption_2\na.wav,A dog,\n",
      "line 2: caption_2 is missing or empty",
    ),
    (
      "audiocaps",
      "test.csv",
      "audiocap_id,youtube_id,start_time,caption\n1,a,0,A\n1,a,0,B\n",
      "line 3: audiocap_id 1 is there twice",
    ),
    (
      "dcase2017",
      "groundtruth_weak_label_evaluation_set.csv",
      "a.wav\t0\t1\tBus\na.wav\t0\t1\tBus\n",
      "line 2: a has 'Bus' twice",
    ),
  ],
)
def test_rows_of_other_sets(name, file, text, match, tmp_path):
  made_up_sets.write(tmp_path / name / file, text)
  fails(tmp_path / name, name, match)


@pytest.mark.parametrize(
  ("value", "match"),
  [
    ([], "esc50.json: lists nothing"),
    ({}, "esc50.json: one JSON list is needed"),
    ([1], "entry 1: an object is needed, not int"),
    ([ROW, ROW], "entry 2: 1-100032-A-0 is there twice"),
    ([ROW | {"output": "Labels: cat, dog"}], "unknown label 'cat, dog'"),
    ([ROW | {"output": "Labels: "}], "nothing after its last colon"),
    ([ROW | {"output": 3}], "entry 1: output is int, not text"),
    ([ROW | {"audio_id": None}], "entry 1: audio_id is missing"),
  ],
)
def test_published_file(value, match, tmp_path):
  folder = made_up_sets.make(tmp_path, "esc50")
  made_up_sets.write_json(tmp_path / "esc50.json", value)
  fails(folder, "esc50", match)


def test_published_file_that_ends_early_or_is_no_utf8(tmp_path):
  folder = made_up_sets.make(tmp_path, "esc50")
  path, text = tmp_path / "esc50.json", json.dumps([ROW, ROW])
  path.write_text(text[:-20])
  fails(folder, "esc50", "esc50.json, entry 2: ")
  path.write_bytes(text.replace("dog", "d\xf6g").encode("latin-1"))
  fails(folder, "esc50", "esc50.json, entry 1: output is no UTF-8")


@pytest.mark.parametrize(
  ("change", "match"),
  [
    ({"answer": "Child"}, "entry 1: the answer 'Child' is not among"),
    ({"choices": ["Man"]}, "entry 1: choices must be a list of two"),
    ({"choices": "Man"}, "entry 1: choices must be a list of two"),
    ({"choices": ["Man", 2]}, "entry 1: choices must be texts"),
    ({"question": ""}, "entry 1: question is missing"),
  ],
)
def test_mmau(change, match, tmp_path):
  path = tmp_path / "mmau" / "mmau-test-mini.json"
  made_up_sets.write_json(path, [QUESTION | change])
  fails(tmp_path / "mmau", "mmau", match)


@pytest.mark.parametrize(
  ("change", "match"),
  [
    ({"answer_gt": "A"}, "entry 1: answer_gt 'A' is none of the choices"),
    ({"choice_d": "Child"}, "entry 1: there is a choice_d without"),
    ({"choice_b": None}, "entry 1: choice_b is missing"),
    ({"uniq_id": None}, "entry 1: uniq_id is missing"),
  ],
)
def test_air_bench(change, match, tmp_path):
  path = tmp_path / "air_bench" / "Foundation" / "Foundation_meta.json"
  made_up_sets.write_json(path, [AIR | change])
  fails(tmp_path / "air_bench", "air_bench", match)


def test_beijing_opera_names_the_file_without_an_instrument(tmp_path):
  folder = made_up_sets.make(tmp_path, "beijing_opera")
  made_up_sets.sound(folder / "gong.wav")
  fails(folder, "beijing_opera", "gong.wav: its name has no instrument")


def test_two_copies_of_the_metadata(tmp_path):
  for copy in ("a", "b"):
    made_up_sets.make(tmp_path / copy, "esc50")
  for copy in ("a", "b"):
    (tmp_path / copy / "esc50" / "meta").rename(tmp_path / copy / "meta")
  fails(tmp_path, "esc50", "are both there")


def test_nothing_of_a_set(tmp_path):
  for name, set_ in SETS.items():
    with pytest.raises(SetNotThereError, match="there is no "):
      set_.find(tmp_path / name)


@pytest.mark.parametrize("name", SETS)
def test_no_sound_of_a_set(name, tmp_path):
  folder = made_up_sets.make(tmp_path, name)
  for item in SETS[name].find(folder).items:
    item.path.unlink(missing_ok=True)
  extra = [*folder.rglob("*.wav"), *folder.rglob("*.flac")]
  for path in extra:
    path.unlink()
  with pytest.raises(SetNotThereError, match=r"no sound|no .* here"):
    SETS[name].find(folder)
