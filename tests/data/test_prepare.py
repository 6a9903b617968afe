"""Getting data ready: built once, opened, and every mistake told."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

import made_up_clips
import made_up_openaqa
from ltu_jax.data import prepare, prompts
from ltu_jax.data.question_source import QuestionSource
from tfds_builders.openaqa import fetch, openaqa_dataset_builder

_Builder = openaqa_dataset_builder.Builder


def write_sounds(folder, clips=3):
  """Tones of three pitches, each in a class folder."""
  for name, hertz in {"Hum": 200, "Beep": 1200, "Whistle": 3000}.items():
    (folder / name).mkdir(parents=True)
    for i in range(clips):
      time = np.arange(8000 + 800 * i) / 16000
      soundfile.write(
        folder / name / f"{i}.wav", 0.5 * np.sin(time * 6.28 * hertz), 16000
      )
  return folder


def use_configs(monkeypatch, configs):
  """Gives the builder other configs."""
  # In this order: TFDS makes the second of the first when it is asked for, and
  # what it was must be known to be put back.
  monkeypatch.setattr(_Builder, "builder_configs", configs)
  monkeypatch.setattr(_Builder, "BUILDER_CONFIGS", list(configs.values()))


@pytest.fixture
def data(tmp_path, monkeypatch):
  """`config.data` of a small data set of own sounds that is not built yet."""
  small = openaqa_dataset_builder.MiniConfig(
    name="mini", num_train=12, num_test=6
  )
  use_configs(monkeypatch, {"mini": small})
  return {
    "name": "openaqa/mini",
    "dir": str(tmp_path / "tfds"),
    "prepare": True,
    "sounds_dir": str(write_sounds(tmp_path / "sounds")),
  }


def test_builds_from_own_sounds_and_opens(data, capsys):
  train, test = prepare.open_splits(data)
  assert (len(train.clips), len(test.clips)) == (12, 6)
  out = capsys.readouterr().out
  assert "data: building openaqa/mini in" in out
  assert "data: built in" in out
  assert f"sounds from {data['sounds_dir']}" in out
  # Again, and without the folder being named: opened, not built.
  again, _ = prepare.open_splits(data | {"sounds_dir": ""})
  assert again[5] == train[5]
  out = capsys.readouterr().out
  assert "building" not in out
  # What was heard is told even where it was not asked for.
  assert f"sounds from {data['sounds_dir']}" in out


def test_recordings_are_those_of_the_splits(data):
  prepare.open_splits(data)
  listed = prepare.recordings(data)
  every = {
    (c, f"{i}.wav") for c in ("Hum", "Beep", "Whistle") for i in (0, 1, 2)
  }
  assert listed["train"] | listed["test"] == every
  assert not listed["train"] & listed["test"]
  assert len(listed["test"]) == 3


def test_one_of_two_builds_and_the_other_waits(data, monkeypatch):
  build, started, go_on = prepare._build, threading.Event(), threading.Event()

  def slow_build(*args):
    started.set()
    assert go_on.wait(60)
    build(*args)

  monkeypatch.setattr(prepare, "_build", slow_build)
  # capsys loses what another thread prints while it is read.
  lines, waiting = [], threading.Event()

  def record(text, **_):
    lines.append(text)
    if "another process builds openaqa/mini; waiting" in text:
      waiting.set()

  monkeypatch.setattr(prepare, "print", record, raising=False)
  opened = []
  threads = [
    threading.Thread(target=lambda: opened.append(prepare.open_splits(data)))
    for _ in range(2)
  ]
  threads[0].start()
  assert started.wait(60)
  threads[1].start()
  assert waiting.wait(60)
  go_on.set()
  for thread in threads:
    thread.join()
  assert sum("data: building" in line for line in lines) == 1
  assert len(opened) == 2


def check_error(data, *parts):
  with pytest.raises(prepare.PrepareError) as caught:
    prepare.open_splits(data)
  for part in parts:
    assert part in str(caught.value)


def test_not_built_and_must_not_be(data):
  check_error(data | {"prepare": False}, "is not prepared in", data["dir"])


@pytest.fixture
def full(data, monkeypatch):
  """`config.data` of openaqa/full, built or not."""
  configs = {
    "full": openaqa_dataset_builder.FullConfig(name="full", num_processes=1)
  }
  use_configs(monkeypatch, configs)
  return data | {"name": "openaqa/full", "sounds_dir": ""}


@pytest.mark.parametrize("prepare_it", [True, False])
def test_full_is_not_built_by_the_trainer(full, prepare_it):
  check_error(
    full | {"prepare": prepare_it},
    "tfds build openaqa/full --imports=tfds_builders --manual_dir=DIR"
    f" --data_dir={full['dir']}",
    "tfds_builders/openaqa/README.md",
    "pip install 'ltu-jax[beam]'",
  )
  assert not os.path.exists(full["dir"])


def test_a_data_set_without_test_split(full, tmp_path, capsys):
  made_up_openaqa.write(tmp_path / "in", num_good=5)
  made_up_openaqa.build(tmp_path / "in", full["dir"])
  capsys.readouterr()
  train, test = prepare.open_splits(full)
  assert (len(train.clips), train.num_rows, test) == (5, 15, None)
  out = capsys.readouterr().out
  assert "to learn from, none to test on; sounds from source_0, sour" in out
  assert prepare.recordings(full) == {}


def test_options_of_mini_are_not_for_full(full):
  check_error(
    full | {"num_train": 3}, "openaqa/full has no option num_train; it has aud"
  )


def test_unknown_names(data):
  check_error(
    data | {"name": "nowhere/x", "sounds_dir": ""},
    "TFDS knows no data set 'nowhere/x'",
    "openaqa/mini",
  )
  check_error(data | {"name": "openaqa/x"}, "openaqa/x: BuilderConfig x not")


def test_sounds_dir_of_another_data_set(data):
  check_error(data | {"name": "mnist"}, "mnist does not take it")


def test_built_from_something_else(data):
  prepare.open_splits(data)
  check_error(
    data | {"sounds_dir": "/elsewhere"}, "was built with sounds_dir=", "remove"
  )


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (lambda f: (f / "Hum" / "1.wav").unlink(), "has 2 sounds, and a class"),
    (
      lambda f: (f / "Hum" / "1.wav").write_text("no sound"),
      "1.wav",
    ),
  ],
)
def test_sounds_that_cannot_be_used(data, tmp_path, spoil, message):
  spoil(tmp_path / "sounds")
  check_error(data, "openaqa/mini cannot be built: ", message)


def test_no_apt(data, monkeypatch):
  monkeypatch.setattr(fetch.shutil, "which", lambda tool: None)
  check_error(
    data | {"sounds_dir": ""}, "apt-get is not on this machine", "sounds_dir="
  )


def test_folder_that_cannot_be_written(data, tmp_path):
  (tmp_path / "file").write_text("")
  check_error(
    data | {"dir": str(tmp_path / "file" / "tfds")},
    "config.data.dir: cannot write to",
  )


class Counted(list):
  """Records; notes in `read` which are read."""

  def __init__(self, records):
    super().__init__(records)
    self.read = []

  def __getitem__(self, place):
    self.read.append(place)
    return super().__getitem__(place)


@pytest.fixture
def texts(monkeypatch):
  """What a tokenizer is trained on, in place of the training."""
  texts = []

  def keep(given, vocab_size, path):
    texts.extend(given)
    path.write_bytes(b"model")
    return vocab_size

  monkeypatch.setattr(prepare, "train_sentencepiece", keep)
  return texts


def test_tokenizer_learns_without_a_record_that_cannot_be_read(
  tmp_path, texts, capsys
):
  class Torn(list):
    def __getitem__(self, place):
      if place == 3:  # As ArrayRecord reports a flipped byte.
        raise RuntimeError("chunk data hash mismatch")
      return super().__getitem__(place)

  records, index = made_up_clips.make()
  prepare.train_tokenizer(
    QuestionSource(Torn(records), index), 300, tmp_path / "t.model"
  )
  assert len(texts) == len(index.clip) - 3
  assert not any("Question 3." in text for text in texts)
  out = capsys.readouterr().out
  assert "tokenizer: skipped record 3: cannot be read (RuntimeError: chu" in out


def test_tokenizer_learns_from_full_texts_reading_each_clip_once(
  tmp_path, texts
):
  records, index = made_up_clips.make()
  clips = Counted(records)
  source = QuestionSource(clips, index).select(tasks=["caption"])
  path = tmp_path / "t.model"
  assert prepare.train_tokenizer(source, 300, path) == 300
  # Of clips with more than one question, the second and fifth are captions.
  expected = [(2, 1), (3, 1), (4, 1), (5, 1), (5, 4), (6, 1), (6, 4)]
  assert texts == [
    prompts.build_full_text(
      f"Question {c}.{q}: what?", "", f"Answer {c}.{q}, café."
    )
    for c, q in expected
  ]
  assert clips.read == [2, 3, 4, 5, 6]
  assert [p.name for p in tmp_path.iterdir()] == ["t.model"]


def test_tokenizer_learns_the_text_that_belongs_to_a_question(tmp_path, texts):
  records, index = made_up_clips.make(3)
  records[2]["questions"]["input"] = [b"", "À table".encode()]
  prepare.train_tokenizer(
    QuestionSource(records, index), 300, tmp_path / "t.model"
  )
  assert texts == [
    prompts.build_full_text(f"Question {c}.{q}: what?", more, f"Answer {c}.{q}")
    + ", café."
    for c, q, more in [(1, 0, ""), (2, 0, ""), (2, 1, "À table")]
  ]


def test_tokenizer_of_many_questions_reads_a_spread_of_the_clips(
  tmp_path, texts, monkeypatch, capsys
):
  records, index = made_up_clips.make(13)
  clips = Counted(records)
  source = QuestionSource(clips, index)
  assert source.num_rows == 78
  monkeypatch.setattr(prepare, "_TOKENIZER_QUESTIONS", 78)
  prepare.train_tokenizer(source, 300, tmp_path / "t.model")
  assert len(clips.read) == 12
  assert not capsys.readouterr().out
  monkeypatch.setattr(prepare, "_TOKENIZER_QUESTIONS", 30)
  for _ in range(2):
    clips.read.clear()
    texts.clear()
    prepare.train_tokenizer(source, 300, tmp_path / "t.model")
    assert clips.read == [1, 4, 7, 10]
    assert len(texts) == 1 + 4 + 7 + 10
  assert "from 4 of the 12 clips" in capsys.readouterr().out


def test_tokenizer_that_cannot_be_trained(tmp_path):
  records, index = made_up_clips.make()
  source = QuestionSource(records, index)
  with pytest.raises(
    prepare.PrepareError, match=r"config\.tokenizer\.vocab_size: .* 9000 pieces"
  ):
    prepare.train_tokenizer(source, 9000, tmp_path / "t.model")
  assert not list(tmp_path.iterdir())


def test_tokenizer_encodes_what_it_learned(tmp_path):
  records, index = made_up_clips.make()
  source = QuestionSource(records, index)
  tokenizer = prepare.train_tokenizer(source, 320, tmp_path / "t.model")
  assert tokenizer.vocab_size == 320
  text = prompts.build_full_text("Question 1.0: what?", "", "Answer 1.0, café.")
  assert tokenizer.decode(tokenizer.encode(text)) == text


def test_imports_neither_tensorflow_nor_jax():
  program = (
    "import sys, ltu_jax.data.prepare\n"
    "print([m for m in ('tensorflow', 'jax') if m in sys.modules])\n"
  )
  out = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, check=True
  )
  assert out.stdout.strip() == "[]"
