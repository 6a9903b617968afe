"""The command `make`: what it writes, from all sources at once."""

import collections
import json
import os
import signal
import subprocess
import sys
import time

import pytest

import made_up_sources
from ltu_jax.aqa import __main__ as command
from ltu_jax.aqa import making, record_lines

_STREAMED = ("closed.json", "records.jsonl", "missing.tsv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """All tables, and the sounds of all clips."""
  path = made_up_sources.write(tmp_path_factory.mktemp("sources"))
  made_up_sources.write_sounds(path / "audio")
  rows = "radio\tx\tTinny\nTap\tx\tSharp\nTap\tx\tDull and low\n"
  (path / "features.tsv").write_text(f"label\tcue\tfeature\n{rows}")
  return path


def _make(folder, out, *options, status=0):
  """Runs the command on all tables; returns the entries and the counts."""
  arguments = [*made_up_sources.every(folder), f"--audio={folder / 'audio'}"]
  done = command.main(
    ["make", *arguments, f"--out={out}", "--processes=1", *options]
  )
  assert done == status
  if status:
    return None
  return (
    json.loads((out / "closed.json").read_text()),
    json.loads((out / "composition.json").read_text()),
  )


def _tasks(entries, dataset):
  return dict(
    collections.Counter(
      entry["task"] for entry in entries if entry["dataset"] == dataset
    )
  )


def test_questions_are_in_the_published_format_and_counted(folder, tmp_path):
  entries, made = _make(folder, tmp_path)
  for entry in entries:
    assert list(entry) == [
      "instruction",
      "input",
      "audio_id",
      "dataset",
      "task",
      "output",
    ]
    assert (folder / "audio" / entry["audio_id"]).is_file()
  assert _tasks(entries, "as_20k") == {"cla_label": 4}
  assert _tasks(entries, "as_strong_train") == {
    "cla_label": 4,
    "caption": 1,
    "temporal_single": 2,
    "temporal_order": 1,
    "temporal_all": 1,
  }
  # Two clips of five captions, twice.
  assert _tasks(entries, "clotho_development") == {"caption": 20}
  # One clip with one caption, ten times; the other source's is too long.
  assert _tasks(entries, "soundbible") == {"caption": 10}
  assert _tasks(entries, "freesound") == {"caption": 1}
  counted = made["datasets"]
  assert counted["freesound"]["clips"]["too_long"] == 1
  assert counted["soundbible"]["clips"]["copies"] == 10
  assert made["clips"]["listed"] == len(made_up_sources.SOUNDS)
  assert made["questions"] == len(entries)
  for name, part in counted.items():
    tasks = {task: one["questions"] for task, one in part["tasks"].items()}
    assert tasks == _tasks(entries, name)
    assert part["share"] == round(part["questions"] / len(entries), 4)
    assert part["prefixed"] == sum(
      entry["instruction"].startswith("Closed-ended question: ")
      for entry in entries
      if entry["dataset"] == name
    )
  text = (tmp_path / "composition.md").read_text()
  (row,) = [line for line in text.splitlines() if line.startswith("| all ")]
  assert row.split()[-5:] == [str(len(entries)), "|", "100", "%", "|"]


def test_answers_have_the_published_forms(folder, tmp_path):
  entries, _ = _make(folder, tmp_path, "--closed_prefix=0")
  answers = collections.defaultdict(set)
  for entry in entries:
    answers[entry["dataset"], entry["task"]].add(entry["output"])
  man = "Male speech, man speaking"
  assert answers["as_20k", "cla_label"] == {
    f"Labels: {man}; Radio",
    "Labels: Bell",
  }
  assert answers["as_strong_train", "temporal_order"] == {
    f"First Alarm, then {man}"
  }
  assert answers["as_strong_train", "temporal_all"] == {
    f"Alarm: [0.0s-10.0s]; {man}: [0.4s-1.2s, 4.8s-5.7s]"
  }
  for entry in entries:
    style = {"audiocaps": "AudioCaps", "clotho": "Clotho"}.get(
      entry["dataset"].partition("_")[0]
    )
    asked = entry["instruction"]
    assert not asked.startswith("Closed")
    assert (f"{style} style" in asked) == (style is not None), asked


def test_copies_of_a_clip_are_worded_otherwise(folder, tmp_path):
  entries, _ = _make(folder, tmp_path, "--closed_prefix=0")
  asked = [e["instruction"] for e in entries if e["dataset"] == "soundbible"]
  assert len(set(asked)) == len(asked) == 10
  clotho = collections.defaultdict(list)
  for entry in entries:
    if entry["dataset"] == "clotho_development":
      clotho[entry["audio_id"]].append(entry["instruction"])
  assert all(len(set(asked)) == len(asked) == 10 for asked in clotho.values())


def test_features_make_questions_of_their_own(folder, tmp_path):
  table = f"--features={folder / 'features.tsv'}"
  entries, made = _make(folder, tmp_path, table)
  (answer,) = {
    entry["output"]
    for entry in entries
    if entry["task"] == "cla_label_des" and entry["dataset"] == "fsd50k_val"
  }
  assert answer.removeprefix("Labels with acoustic features: ") in (
    "Sharp -> Tap",
    "Dull and low -> Tap",
  )
  # A label without a feature: its clip is not asked about.
  assert "cla_label_des" not in _tasks(entries, "as_20k")
  lacking = made["labels_without_feature"]
  assert lacking["Male speech, man speaking"] == 2
  assert "Radio" not in lacking and "Tap" not in lacking


def test_records_are_kept_once_as_they_were_asked_about(folder, tmp_path):
  table = f"--features={folder / 'features.tsv'}"
  entries, made = _make(folder, tmp_path, table)
  records = list(record_lines.read(tmp_path / "records.jsonl"))
  assert len(records) == made["clips"]["asked"]
  assert {r.audio for r in records} == {e["audio_id"] for e in entries}
  (val,) = [r for r in records if r.dataset == "fsd50k_val"]
  assert val.split == "val"
  assert val.events[0].feature in ("Sharp", "Dull and low")
  lines = "".join(f"{record_lines.write(record)}\n" for record in records)
  assert lines == (tmp_path / "records.jsonl").read_text()


def test_same_seed_same_bytes_whoever_makes_them(folder, tmp_path):
  """Other processes, other sizes of chunks, another hash seed."""
  _make(folder, tmp_path / "one")
  program = (
    "import sys\n"
    "from ltu_jax.aqa import __main__, making\n"
    "making.CHUNK = 2\n"
    "if __name__ == '__main__':\n"
    "  sys.exit(__main__.main(sys.argv[1:]))\n"
  )
  (tmp_path / "program.py").write_text(program)
  subprocess.run(
    [
      *(sys.executable, tmp_path / "program.py", "make"),
      *made_up_sources.every(folder),
      *(f"--audio={folder / 'audio'}", f"--out={tmp_path / 'two'}"),
      "--processes=2",
    ],
    env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.getcwd()},
    check=True,
  )
  _make(folder, tmp_path / "three", "--seed=1")
  read = lambda name: {
    path.name: path.read_bytes() for path in (tmp_path / name).iterdir()
  }
  assert read("one") == read("two")
  assert read("one").keys() == read("three").keys()
  assert read("one")["closed.json"] != read("three")["closed.json"]


def test_missing_sounds_are_counted_and_named(folder, tmp_path, capsys):
  sounds = [n for n in made_up_sources.SOUNDS if not n.startswith("vgg/-0")]
  made_up_sources.write_sounds(tmp_path / "in" / "audio", sounds)
  made_up_sources.write(tmp_path / "in")
  entries, made = _make(tmp_path / "in", tmp_path / "out")
  assert made["datasets"]["vggsound_train"]["clips"]["missing"] == 2
  assert _tasks(entries, "vggsound_train") == {"cla_label": 2}
  assert (tmp_path / "out/missing.tsv").read_text().splitlines() == [
    f"vggsound_train\t-0DLPzsiXXE_{start:06d}\t-0DLPzsiXXE_{start}.000_"
    f"{start + 10}.000.wav"
    for start in (30, 90)
  ]
  assert "2 of 3 sounds are not there" in capsys.readouterr().err
  entries, made = _make(tmp_path / "in", tmp_path / "out", "--keep_missing")
  assert made["datasets"]["vggsound_train"]["clips"]["missing"] == 2
  assert _tasks(entries, "vggsound_train") == {"cla_label": 6}


def test_a_recipe_of_one_s_own(folder, tmp_path):
  path = tmp_path / "recipe.json"
  text = '{"datasets": {"as_*": {"tasks": ["cla_label"]}, "*": {"repeat": 0}}}'
  path.write_text(text)
  entries, made = _make(
    folder, tmp_path / "out", f"--recipe={path}", "--repeat=esc50=1.5"
  )
  assert {entry["dataset"] for entry in entries} <= {
    "as_20k",
    "as_strong_train",
    "esc50",
  }
  assert _tasks(entries, "as_strong_train") == {"cla_label": 4}
  assert made["datasets"]["esc50"]["clips"]["copies"] in (2, 3, 4)
  assert made["datasets"]["clotho_development"]["clips"]["not_drawn"] == 2


def test_limit_is_of_each_source(folder, tmp_path):
  _, made = _make(folder, tmp_path, "--limit=1")
  assert made["clips"]["listed"] == 12


def test_a_repeat_that_is_not_whole_is_one_on_the_average():
  part = making.Recipe().with_repeat("x=2.25").part("x")
  copies = [part.copies(f"clip {i}", 0) for i in range(2000)]
  assert set(copies) == {2, 3}
  # 500 of 2000 with a deviation of 19.4; five of them.
  assert abs(copies.count(3) - 500) < 97


def test_nothing_is_left_of_a_command_that_fails(folder, tmp_path, capsys):
  _make(folder, tmp_path / "out")
  before = {p: p.read_bytes() for p in (tmp_path / "out").iterdir()}
  made_up_sources.write_sounds(tmp_path / "other", ["a.wav"])
  _make(folder, tmp_path / "out", f"--audio={tmp_path / 'other'}", status=2)
  assert "none of the 22 sounds" in capsys.readouterr().err
  assert {p: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_killed_and_started_again(folder, tmp_path):
  """What a killed command leaves is not in the way, nor taken for whole."""
  _make(folder, tmp_path / "whole")
  out = tmp_path / "out"
  program = (
    "from ltu_jax.aqa import __main__, making\n"
    "import sys, time\n"
    "make = making.make\n"
    "making.CHUNK = 2\n"
    "def slow(*args):\n"
    "  print('chunk', flush=True); time.sleep(0.3); return make(*args)\n"
    "making.make = slow\n"
    "sys.exit(__main__.main(sys.argv[1:]))\n"
  )
  arguments = [*made_up_sources.every(folder), f"--audio={folder / 'audio'}"]
  process = subprocess.Popen(
    [
      *(sys.executable, "-c", program, "make", *arguments),
      *(f"--out={out}", "--processes=1"),
    ],
    stdout=subprocess.PIPE,
  )
  for _ in range(3):
    assert process.stdout.readline() == b"chunk\n"
  # While it runs, no other may write there.
  _make(folder, out, status=2)
  process.send_signal(signal.SIGKILL)
  process.wait()
  process.stdout.close()
  assert not (out / "composition.json").exists()
  assert not (out / "closed.json").exists()
  _make(folder, out)
  assert {p.name: p.read_bytes() for p in out.iterdir()} == {
    p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()
  }


@pytest.mark.parametrize(
  ("options", "words"),
  [
    (["--audio=none"], "--audio=none: is no folder"),
    (["--seed=-1"], "seed is -1"),
    (["--closed_prefix=2"], "closed_prefix has to be"),
    (["--repeat=x"], "NAME=NUMBER"),
    (["--repeat=x=-1"], "repeat has to be a number of 0 or more"),
    (["--recipe=none.json"], "none.json: cannot be read"),
    (["--features=none.tsv"], "none.tsv: cannot be read"),
    (["--paraphrases=none.txt"], "none.txt: cannot be read"),
    (["--source=x:y"], "one of audioset"),
  ],
)
def test_a_wrong_call_is_one_line(options, words, folder, tmp_path, capsys):
  _make(folder, tmp_path, *options, status=2)
  (line,) = [x for x in capsys.readouterr().err.splitlines() if words in x]
  assert line.startswith("aqa: ")


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("[]", "an? JSON object|a JSON object"),
    ('{"data": 1}', "'data' means nothing; there are closed_prefix"),
    ('{"datasets": {"x": {"repeats": 1}}}', "x: 'repeats' means nothing"),
    ('{"datasets": {"x": {"repeat": "1"}}}', "x: repeat has to be a number"),
    ('{"datasets": {"x": {"repeat": 1e9}}}', "x: repeat is 10+.0, over"),
    ('{"datasets": {"x": {"tasks": ["sing"]}}}', "x: there is no task 'sing'"),
    ('{"datasets": {"x": 1}, "datasets": {}}', "it has twice: datasets"),
  ],
)
def test_a_wrong_recipe(text, words, tmp_path):
  path = tmp_path / "recipe.json"
  path.write_text(text)
  with pytest.raises(making.AqaError, match=rf"recipe\.json: .*{words}"):
    command.cli.make_command.recipe.read(str(path))


def test_memory_does_not_grow_with_the_clips(tmp_path):
  """What is read ahead of what is written is bounded."""
  read = written = most = 0

  def clips():
    nonlocal read, most
    record = record_lines.ClipRecord("a", "x", captions=("A.",))
    for _ in range(40 * making.CHUNK):
      read += 1
      most = max(most, read - written)
      yield record, 1

  def write(made):
    nonlocal written
    written += made.records.count(b"\n")

  job = making.Job(making.Recipe(), {"caption": ("What?",)}, {})
  start = time.monotonic()
  making.run(job, clips(), 2, write)
  assert written == read == 40 * making.CHUNK
  # Three chunks wait for each of two processes, and one is being read.
  assert most <= 7 * making.CHUNK
  assert time.monotonic() - start < 60
