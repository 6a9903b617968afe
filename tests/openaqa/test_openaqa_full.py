"""openaqa/full: TFDS's own checks, and what comes out of a folder."""

import collections
import io
import os
import pathlib
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

import made_up_openaqa as made_up
import tfds_builders
from ltu_jax.audio.decode import decode
from ltu_jax.data import question_index, question_texts
from ltu_jax.data.question_index import QuestionIndex
from ltu_jax.data.question_source import QuestionSource
from tfds_builders.openaqa import openaqa_dataset_builder

Builder = openaqa_dataset_builder.Builder


class FullTest(tfds.testing.DatasetBuilderTestCase):
  """What TFDS asks of every builder."""

  DATASET_CLASS = Builder
  EXAMPLE_DIR = os.path.dirname(__file__)  # Replaced below by a made-up one.
  SPLITS = {"train": 23}  # noqa: RUF012 (TFDS's way)
  BUILDER_CONFIG_NAMES_TO_TEST = ["full"]  # noqa: RUF012 (TFDS's way)

  @pytest.fixture(autouse=True)
  def _folder(self, folder):
    type(self).dummy_data = folder

  def test_session(self, *args, **kwargs):
    return super().test_session(*args, **kwargs)

  # A context manager of TensorFlow, which would be counted as a skipped test.
  test_session.__test__ = False

  def _make_builder(self, config=None):
    return self.dataset_class(
      data_dir=self.tmp_dir, config=config, num_processes=1
    )


def test_full_is_what_the_name_alone_gives():
  assert tfds.builder("openaqa").builder_config.name == "full"


def test_every_good_clip_is_a_record_with_all_its_questions(built):
  source = built.as_data_source("train")
  got = {}
  for record in source:
    questions = record["questions"]
    names = ("instruction", "input", "output", "task", "dataset")
    columns = [[value.decode() for value in questions[n]] for n in names]
    got[record["id"].decode()] = list(zip(*columns, strict=True))
  names = [n for n in got if n not in made_up.CHANGED_AUDIO]
  assert len(names) == 20
  for name in got:
    wanted = [made_up.question(name, i) for i in range(3)]
    assert got[name] == [
      tuple(q[k] for k in ("instruction", "input", "output", "task", "dataset"))
      for q in wanted
    ]
  assert set(got) - set(names) == set(made_up.CHANGED_AUDIO)


def test_the_audio_is_the_clips_own(built, folder):
  for record in built.as_data_source("train"):
    name = record["id"].decode()
    (path,) = (folder / "audio").glob(f"{name}.*")
    with soundfile.SoundFile(io.BytesIO(record["audio"])) as sound:
      assert sound.format == "FLAC"
      assert (sound.samplerate, sound.channels) == (16000, 1)
    want = decode(path, max_seconds=10.255)
    np.testing.assert_array_equal(decode(record["audio"]), want)


def test_load_and_data_source_read_one_copy(built):
  source = built.as_data_source("train")
  dataset = tfds.load(
    "openaqa", split="train", data_dir=built.data_dir.split("/openaqa/")[0]
  )
  loaded = list(dataset.as_numpy_iterator())
  assert len(source) == len(loaded) == 23
  for a, b in zip(source, loaded, strict=True):
    assert (a["id"], a["audio"]) == (b["id"], b["audio"])
    np.testing.assert_equal(
      {k: list(v) for k, v in a["questions"].items()},
      {k: list(v) for k, v in b["questions"].items()},
    )


def test_load_builds_by_itself(folder, tmp_path):
  config = tfds.download.DownloadConfig(manual_dir=folder)
  dataset = tfds.load(
    "openaqa",
    split="train",
    data_dir=tmp_path,
    download_and_prepare_kwargs={"download_config": config},
    builder_kwargs={"num_processes": 1},
  )
  assert len(dataset) == 23


def test_the_report_counts_every_rule(built):
  report = made_up.report(built)
  clips = report["clips"]
  assert {k: v["count"] for k, v in clips["left_out"].items()} == dict.fromkeys(
    made_up.BAD_AUDIO, 1
  )
  assert {k: v["count"] for k, v in clips["changed"].items()} == dict.fromkeys(
    made_up.CHANGED_AUDIO, 1
  )
  for kind, one in (clips["left_out"] | clips["changed"]).items():
    assert kind in one["examples"][0]
    assert one["rule"].startswith(("left out", "used"))
  used = {
    name: [source[what]["used"] for what in ("clips", "questions")]
    for name, source in report["sources"].items()
  }
  counted = collections.Counter()
  for record in built.as_data_source("train"):
    counted[record["questions"]["dataset"][0].decode()] += 1
  assert used == {name: [n, 3 * n] for name, n in counted.items()}
  assert sum(source["clips"]["asked"] for source in report["sources"].values())
  assert report["tasks"] == {
    "caption": 23,
    "cla_label": 23,
    "cla_label_des": 23,
  }
  assert report["entries"]["read"] == 90
  assert sum(shard["records"] for shard in report["shards"]) == 23


def test_the_table_is_printed(folder, tmp_path, capsys):
  made_up.build(folder, tmp_path)
  out = capsys.readouterr().out
  assert re.search(r"source +clips +found +used +questions", out)
  assert re.search(r"^all +30 +30 +23 +76\.7% +90 +69 +76\.7%$", out, re.M)
  assert "1 too_short: left out: less than a frame" in out
  assert "such as too_short (" in out


def test_the_index_names_each_question(built):
  index = QuestionIndex.load(question_index.path(built.data_dir, "train"))
  source = built.as_data_source("train")
  assert len(index.clip) == 69
  seen = set()
  for clip, place, task, dataset in zip(
    index.clip, index.question, index.task, index.dataset, strict=True
  ):
    questions = source[clip]["questions"]
    assert questions["task"][place].decode() == index.tasks[task]
    assert questions["dataset"][place].decode() == index.datasets[dataset]
    seen.add((clip, place))
  assert len(seen) == 69


@pytest.mark.parametrize("num_shards", [1, 3, 40])
def test_the_number_of_shards_changes_no_record(
  built, folder, tmp_path, num_shards
):
  other = made_up.build(folder, tmp_path, {"num_shards": num_shards})
  assert len(list(other.data_path.glob("*array_record-*"))) == num_shards
  ours, theirs = (b.as_data_source("train") for b in (built, other))
  assert len(ours) == len(theirs)
  for a, b in zip(ours, theirs, strict=True):
    np.testing.assert_equal(a, b)
  first, second = (
    question_index.path(b.data_dir, "train").read_bytes()
    for b in (built, other)
  )
  assert first == second


def test_several_processes_give_the_same_files(built, folder, tmp_path):
  one, two = (
    made_up.build(folder, tmp_path / str(n), {"num_shards": 4}, num_processes=n)
    for n in (1, 3)
  )
  files = sorted(p.name for p in one.data_path.glob("openaqa-*"))
  assert len(files) == 4
  for name in files:
    first, second = ((b.data_path / name).read_bytes() for b in (one, two))
    assert first == second


def test_another_process_builds_the_same(built, folder, tmp_path):
  program = (
    "import tensorflow_datasets as tfds, tfds_builders\n"
    f"tfds.builder('openaqa', data_dir={str(tmp_path)!r}, num_processes=1)"
    ".download_and_prepare(download_config=tfds.download.DownloadConfig("
    f"manual_dir={str(folder)!r}))\n"
  )
  environment = os.environ | {"PYTHONHASHSEED": "7"}
  subprocess.run([sys.executable, "-c", program], env=environment, check=True)
  name = "openaqa-train.array_record-00000-of-00001"
  (theirs,) = tmp_path.rglob(name)
  assert (built.data_path / name).read_bytes() == theirs.read_bytes()


def test_data_set_is_read_without_this_package(built, tmp_path):
  # A read-only builder knows the plain features of features.json alone.
  program = (
    "import sys, tensorflow_datasets as tfds\n"
    f"b = tfds.builder_from_directory({str(built.data_dir)!r})\n"
    "source = b.as_data_source('train')\n"
    "print(len(source), source[3]['audio'][:4])\n"
    "print([m for m in sys.modules if 'builders.openaqa' in m])\n"
    "print([m for m in ('tensorflow', 'jax') if m in sys.modules])\n"
  )
  out = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    check=True,
    cwd=tmp_path,
  )
  assert out.stdout.splitlines() == ["23 b'fLaC'", "[]", "[]"]


def test_as_dataframe_shows_players(built):
  dataset = built.as_dataset(split="train").take(2)
  html = tfds.as_dataframe(dataset, built.info)._repr_html_()
  assert html.count('<audio controls src="data:audio/flac;base64,') == 2


@pytest.mark.parametrize("name", ["openaqa/full", "openaqa/mini"])
def test_mock_data_works(name):
  with tfds.testing.mock_data(num_examples=3):
    dataset = tfds.load(name, split="train")
    records = list(dataset.as_numpy_iterator())
    source = tfds.data_source(name, split="train")
    assert len(source) == 3
    assert set(source[0]) == set(records[0])
  assert len(records) == 3
  assert isinstance(records[0]["audio"], bytes)
  assert set(records[0]["questions"]) >= {"instruction", "output", "task"}


def test_metadata_and_splits_tell_what_it_is(built):
  info = tfds.builder_from_directory(built.data_dir).info
  assert info.splits["train"].num_examples == 23
  assert info.splits["train"].num_bytes > 0
  assert info.metadata["recipe"]["decoder"] == "soundfile"
  assert info.metadata["files"][0]["name"] == made_up.JSON
  assert len(info.metadata["files"][0]["sha256"]) == 64
  assert info.metadata["coverage"] == round(23 / 30, 4)
  assert "gong" in built.info.citation.lower()


def test_the_work_folder_is_gone_in_the_end(built):
  assert [p.name for p in built.data_path.parent.iterdir()] == ["1.0.0"]


def test_builder_survives_pickling(built):
  again = pickle.loads(pickle.dumps(built))
  assert len(again.as_data_source("train")) == 23


def test_importing_the_package_registers_the_builder():
  assert tfds_builders.openaqa_dataset_builder.Builder is Builder
  assert pathlib.Path(Builder.code_path).name == "openaqa_dataset_builder.py"


@pytest.mark.parametrize("num_shards", [1, 3])
def test_the_texts_are_those_of_the_records(folder, tmp_path, num_shards):
  built = made_up.build(folder, tmp_path, {"num_shards": num_shards})
  source = QuestionSource.open("openaqa/full", "train", tmp_path)
  want = [source.texts_of(clip) for clip in range(len(source.clips))]
  assert source.texts == question_texts.path(built.data_dir, "train")
  assert [*question_texts.read(source.texts)] == want
  assert sum(map(len, want)) == 69 and "café" in want[0][0][2]
