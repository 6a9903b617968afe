"""The builder, on generated sounds: TFDS's own checks, and what we promise."""

import collections
import io
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

import made_up_sounds
import tfds_builders
from ltu_jax.data import question_index, question_texts
from ltu_jax.data.question_index import QuestionIndex
from ltu_jax.data.question_source import QuestionSource

_COUNTS = {"num_train": 20, "num_test": 8}


@pytest.fixture(scope="module")
def sounds_dir(tmp_path_factory):
  return made_up_sounds.write_folder(tmp_path_factory.mktemp("in") / "sounds")


def _build(data_dir, sounds_dir):
  builder = tfds.builder(
    "openaqa/mini", data_dir=data_dir, sounds_dir=sounds_dir, **_COUNTS
  )
  builder.download_and_prepare()
  return builder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, sounds_dir):
  path = tmp_path_factory.mktemp("out")
  _build(path, sounds_dir)
  return path


class OpenaqaTest(tfds.testing.DatasetBuilderTestCase):
  """What TFDS asks of every builder."""

  DATASET_CLASS = tfds_builders.openaqa_dataset_builder.Builder
  EXAMPLE_DIR = os.path.dirname(__file__)  # Unused, but has to exist.
  SPLITS = {"train": 20, "test": 8}  # noqa: RUF012 (TFDS's way)
  BUILDER_CONFIG_NAMES_TO_TEST = ["mini"]  # noqa: RUF012 (TFDS's way)

  @pytest.fixture(autouse=True)
  def _sounds(self, sounds_dir):
    self._sounds_dir = sounds_dir

  def test_session(self, *args, **kwargs):
    return super().test_session(*args, **kwargs)

  # A context manager of TensorFlow, which would be counted as a skipped test.
  test_session.__test__ = False

  def _make_builder(self, config=None):
    return self.dataset_class(
      data_dir=self.tmp_dir,
      config=config or "mini",
      sounds_dir=self._sounds_dir,
      **_COUNTS,
    )


def test_both_ways_of_loading_read_one_copy(data_dir):
  source = tfds.data_source("openaqa/mini", split="train", data_dir=data_dir)
  dataset = tfds.load("openaqa/mini", split="train", data_dir=data_dir)
  loaded = list(dataset.as_numpy_iterator())
  assert len(source) == len(loaded) == 20
  for a, b in zip(source, loaded, strict=True):
    assert a["id"] == b["id"]
    assert a["audio"] == b["audio"]
    for key in ("instruction", "output", "task", "dataset"):
      assert list(a["questions"][key]) == list(b["questions"][key])
  records = [p for p in data_dir.rglob("*record*") if p.is_file()]
  assert [p.name for p in sorted(records)] == [
    "openaqa-test.array_record-00000-of-00001",
    "openaqa-train.array_record-00000-of-00001",
  ]


def test_load_shuffles_all_records(data_dir):
  dataset = tfds.load(
    "openaqa/mini",
    split="train",
    data_dir=data_dir,
    shuffle_files=True,
    read_config=tfds.ReadConfig(shuffle_seed=1),
  )
  names = [record["id"] for record in dataset.as_numpy_iterator()]
  assert names != sorted(names)
  assert len(set(names)) == 20


def test_slice_of_a_split(data_dir):
  dataset = tfds.load("openaqa/mini", split="train[5:8]", data_dir=data_dir)
  names = [record["id"].decode() for record in dataset.as_numpy_iterator()]
  assert names == [f"mini-train-0000{i}" for i in (5, 6, 7)]


def test_data_source_needs_neither_tensorflow_nor_jax(data_dir):
  program = (
    "import sys, tensorflow_datasets as tfds, tfds_builders\n"
    f"s = tfds.data_source('openaqa/mini', data_dir={str(data_dir)!r})\n"
    "print(s['test'][0]['id'].decode())\n"
    "print([m for m in ('tensorflow', 'jax') if m in sys.modules])\n"
  )
  out = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, check=True
  )
  assert out.stdout.split("\n")[:2] == ["mini-test-00000", "[]"]


def test_record_is_whole(data_dir):
  source = tfds.data_source("openaqa/mini", split="train", data_dir=data_dir)
  for number, record in enumerate(source):
    assert record["id"].decode() == f"mini-train-{number:05d}"
    pcm, rate = soundfile.read(io.BytesIO(record["audio"]), dtype="int16")
    assert (rate, pcm.shape) == (16000, (160000,))
    labels = [label.decode() for label in record["events"]["label"]]
    outputs = collections.defaultdict(list)
    questions = record["questions"]
    for task, output in zip(
      questions["task"], questions["output"], strict=True
    ):
      outputs[task.decode()].append(output.decode())
    assert outputs["cla_label"] == ["Labels: " + "; ".join(labels)] * 2
    assert outputs["caption"] == [record["caption"].decode()]
    several = len(labels) > 1
    assert len(outputs["temporal_order"]) == several
    assert len(outputs["temporal_all"]) == several
    if several:
      assert outputs["temporal_order"] == ["First " + ", then ".join(labels)]


def test_another_process_builds_the_same(data_dir, sounds_dir, tmp_path):
  program = (
    "import tensorflow_datasets as tfds, tfds_builders\n"
    f"tfds.builder('openaqa/mini', data_dir={str(tmp_path)!r},"
    f" sounds_dir={str(sounds_dir)!r}, num_train=20, num_test=8"
    ").download_and_prepare()\n"
  )
  # Another hash seed, so that no order of a set or a dict can matter.
  environment = os.environ | {"PYTHONHASHSEED": "7"}
  subprocess.run([sys.executable, "-c", program], env=environment, check=True)
  for split in ("train", "test"):
    # Records, not files: protobuf writes the fields in an order that differs
    # between processes.
    ours, theirs = (
      tfds.data_source("openaqa/mini", split=split, data_dir=path)
      for path in (data_dir, tmp_path)
    )
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
      np.testing.assert_equal(a, b)
    for path_of in (question_index.path, question_texts.path):
      ours, theirs = (
        path_of(path / "openaqa" / "mini" / "1.0.0", split)
        for path in (data_dir, tmp_path)
      )
      assert ours.read_bytes() == theirs.read_bytes()


def test_question_index_points_at_each_question(data_dir):
  builder = tfds.builder("openaqa/mini", data_dir=data_dir)
  source = builder.as_data_source("train")
  index = QuestionIndex.load(question_index.path(builder.data_dir, "train"))
  assert index.clip.dtype == np.int32
  assert index.question.dtype == np.int16
  assert index.task.dtype == index.dataset.dtype == np.uint8
  assert len(index.clip) == sum(len(r["questions"]["task"]) for r in source)
  for i in range(len(index.clip)):
    questions = source[index.clip[i]]["questions"]
    place = index.question[i]
    assert index.tasks[index.task[i]] == questions["task"][place].decode()
    dataset = index.datasets[index.dataset[i]]
    assert dataset == questions["dataset"][place].decode() == "mini"


def test_the_texts_are_those_of_the_records(data_dir):
  source = QuestionSource.open("openaqa/mini", "test", data_dir)
  want = [source.texts_of(clip) for clip in range(len(source.clips))]
  assert [*question_texts.read(source.texts)] == want
  assert sum(map(len, want)) == len(source)


def test_index_of_a_split_that_was_not_built(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"question_index-train\.npz"):
    QuestionIndex.load(question_index.path(tmp_path, "train"))


def test_metadata_tells_where_sounds_are_from(data_dir, sounds_dir):
  metadata = tfds.builder("openaqa/mini", data_dir=data_dir).info.metadata
  assert metadata["recipe"] == {
    "sounds_dir": str(sounds_dir),
    "num_train": 20,
    "num_test": 8,
    "seed": 0,
    "closed_prefix": 0.0,
  }
  assert metadata["sources"][0]["licence"] == "your own sounds"
  for label in ("Fire", "Low hum", "Mid beep", "Whistle"):
    train = metadata["recordings"]["train"][label]
    test = metadata["recordings"]["test"][label]
    assert len(train) == 3
    assert len(test) == 1
    assert not set(train) & set(test)


def test_other_sizes_than_the_built_ones(data_dir):
  message = "was built with num_train=20, not 30: remove that folder or give"
  with pytest.raises(ValueError, match=message):
    tfds.builder("openaqa/mini", data_dir=data_dir, num_train=30)


def test_builder_survives_pickling(data_dir, sounds_dir):
  builder = tfds.builder(
    "openaqa/mini", data_dir=data_dir, sounds_dir=sounds_dir
  )
  again = pickle.loads(pickle.dumps(builder))
  assert len(again.as_data_source("test")) == 8


def test_machine_without_apt_says_so(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", str(tmp_path))
  builder = tfds.builder("openaqa/mini", data_dir=tmp_path / "data")
  message = re.escape("give a folder of your own sounds: sounds_dir=DIR")
  with pytest.raises(RuntimeError, match=message):
    builder.download_and_prepare()
