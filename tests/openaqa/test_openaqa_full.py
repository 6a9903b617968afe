"""openaqa/full: TFDS's own checks, and what comes out of a folder."""

import collections
import io
import json
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

import made_up_openaqa as made_up
import tfds_builders
from ltu_jax.audio.decode import decode
from ltu_jax.data import question_index
from ltu_jax.data.question_index import QuestionIndex
from tfds_builders.openaqa import openaqa_dataset_builder
from tfds_builders.openaqa.full import build, entries, plan

Builder = openaqa_dataset_builder.Builder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A manual_dir with 20 good clips and one for each rule."""
  path = tmp_path_factory.mktemp("manual")
  made_up.write(path, bad=made_up.BAD_AUDIO, changed=made_up.CHANGED_AUDIO)
  return path


@pytest.fixture(scope="module")
def built(tmp_path_factory, folder):
  return made_up.build(folder, tmp_path_factory.mktemp("out"))


def read_report(builder):
  return json.loads((builder.data_path / "build_report.json").read_text())


class FullTest(tfds.testing.DatasetBuilderTestCase):
  """What TFDS asks of every builder."""

  DATASET_CLASS = Builder
  EXAMPLE_DIR = os.path.dirname(__file__)  # Replaced below by a made-up one.
  SPLITS = {"train": 23}  # noqa: RUF012 (TFDS's way)
  BUILDER_CONFIG_NAMES_TO_TEST = ["full"]  # noqa: RUF012

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
  report = read_report(built)
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


def test_options_change_what_is_built(tmp_path):
  names = made_up.write_audio(tmp_path / "in", num_good=4)
  questions = made_up.entries(names)
  questions += [questions[0], questions[0] | {"output": "It is unclear."}]
  made_up.write_json(tmp_path / "in", questions)

  def count(out, **options):
    built = made_up.build(tmp_path / "in", tmp_path / out, **options)
    index = QuestionIndex.load(question_index.path(built.data_dir, "train"))
    return len(index.clip), read_report(built)["entries"]

  num, told = count("all")
  assert num == 14
  assert told["duplicates"]["kept"]["count"] == 1
  num, told = count("no_twice", drop_duplicates=True)
  assert num == 13
  assert told["duplicates"]["dropped"]["count"] == 1
  num, told = count("answered", keep_unanswerable=False)
  assert num == 13
  assert told["left_out"]["unanswerable"]["count"] == 1


def test_own_files_and_several_roots(tmp_path):
  names = made_up.write_audio(tmp_path / "in", num_good=6)
  questions = made_up.entries(names, each=1)
  made_up.write_json(tmp_path / "in", questions[:2], "own_1.json")
  made_up.write_json(tmp_path / "in", questions[2:4], "own_2.json")
  made_up.write_json(tmp_path / "else", questions[4:], "third.json")
  for folder, name in zip(("in/a", "in/b", "else/c"), names[:3], strict=True):
    (tmp_path / folder).mkdir()
    (tmp_path / "in/audio" / f"{name}.flac").rename(
      tmp_path / folder / f"{name}.flac"
    )
  built = made_up.build(
    tmp_path / "in",
    tmp_path / "out",
    json_files=["own_*.json", str(tmp_path / "else" / "*.json")],
    audio_roots=["a", "b", str(tmp_path / "else")],
  )
  got = {r["id"].decode() for r in built.as_data_source("train")}
  assert got == set(names[:3])
  report = read_report(built)
  files = [file["name"] for file in report["files"]]
  assert files == ["own_1.json", "own_2.json", "third.json"]
  assert report["clips"]["left_out"]["missing"]["count"] == 3


def test_one_file_and_one_root_need_no_list(folder, tmp_path):
  # As letters, "/data" would be the roots "/", "d", "a", ...
  one = {"json_files": made_up.JSON, "audio_roots": folder / "audio"}
  built = made_up.build(folder, tmp_path, **one)
  recipe = built.info.metadata["recipe"]
  assert recipe["json_files"] == [made_up.JSON]
  assert recipe["audio_roots"] == [str(folder / "audio")]
  again = made_up.builder(None, tmp_path, **one)
  assert len(again.as_data_source("train")) == 23


def test_a_config_of_ones_own_may_hold_paths(folder, tmp_path):
  config = openaqa_dataset_builder.FullConfig(
    name="own", audio_roots=[folder / "audio"], num_processes=1
  )
  own = Builder(config=config, data_dir=tmp_path)
  own.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=folder)
  )
  assert len(own.as_data_source("train")) == 23


@pytest.mark.parametrize(
  ("there", "taken"),
  [
    (
      ("all_open_qa.json", "combine_cla.json", "openaqa_5.6M.json"),
      ("openaqa_5.6M.json",),
    ),
    (
      ("combine_cla.json", "all_closed_qa.json", "all_open_qa.json"),
      ("all_closed_qa.json", "all_open_qa.json"),
    ),
    (
      ("combine_temporal.json", "combine_cla.json", "other.json"),
      ("combine_cla.json", "combine_temporal.json"),
    ),
  ],
)
def test_published_files_are_not_read_twice(tmp_path, there, taken):
  for name in there:
    (tmp_path / name).touch()
  found = plan.json_files((), tfds.core.Path(tmp_path))
  assert found == tuple(str(tmp_path / name) for name in taken)


def test_a_built_data_set_of_other_options_is_an_error(built):
  root = built.data_dir.split("/openaqa/")[0]
  message = "was built with keep_unanswerable=True, not False: remove"
  with pytest.raises(ValueError, match=message):
    made_up.builder(None, root, keep_unanswerable=False)
  # Who does the work is no part of it.
  made_up.builder(None, root, num_processes=7, min_coverage=0.9)


def test_an_option_of_the_other_config_is_an_error(tmp_path):
  with pytest.raises(ValueError, match="full has no option num_train"):
    Builder(config="full", data_dir=tmp_path, num_train=3)
  with pytest.raises(ValueError, match="mini has no option audio_roots"):
    Builder(config="mini", data_dir=tmp_path, audio_roots=["a"])


def test_builder_survives_pickling(built):
  again = pickle.loads(pickle.dumps(built))
  assert len(again.as_data_source("train")) == 23


def check_fails(folder, tmp_path, error, *words, **options):
  with pytest.raises(error) as caught:
    made_up.build(folder, tmp_path / "out", **options)
  for word in words:
    assert word in str(caught.value)
  assert not list((tmp_path / "out").rglob("dataset_info.json"))


def test_too_few_sounds_end_a_build_before_it_decodes(tmp_path):
  names = made_up.write_audio(tmp_path / "in", num_good=4)
  made_up.write_json(
    tmp_path / "in", made_up.entries([*names, *"abcdef"], each=1)
  )
  check_fails(
    tmp_path / "in",
    tmp_path,
    build.BuildError,
    "40.00% of the clips were found, at least 50.00% have to be (min_coverage)",
    "6 missing: left out: no sound file has the name",
  )
  assert not list((tmp_path / "out").rglob("shard-*"))
  built = made_up.build(tmp_path / "in", tmp_path / "out", min_coverage=0.3)
  assert len(built.as_data_source("train")) == 4


def test_too_few_good_sounds_end_a_build_and_keep_what_was_done(
  folder, tmp_path, capsys
):
  check_fails(
    folder,
    tmp_path,
    build.BuildError,
    "76.67% of the clips were used, at least 80.00% have to be (min_coverage)",
    min_coverage=0.8,
  )
  capsys.readouterr()
  made_up.build(folder, tmp_path / "out", min_coverage=0.7)
  assert "going on in" in capsys.readouterr().out


def test_mended_sounds_are_used_once_the_work_folder_is_gone(tmp_path):
  names = made_up.write(tmp_path / "in", num_good=1, bad=["damaged", "empty"])
  work = tmp_path / "out" / "openaqa" / "full" / "1.0.0.unfinished"
  remedy = f"Mend the sounds and remove {work}, or change the limit"
  check_fails(tmp_path / "in", tmp_path, build.BuildError, remedy)
  for name in names[1:]:
    sound = made_up.encode(made_up.noise(1), format_="WAV")
    (tmp_path / "in" / "audio" / f"{name}.wav").write_bytes(sound)
  check_fails(tmp_path / "in", tmp_path, build.BuildError, remedy)
  shutil.rmtree(work)
  built = made_up.build(tmp_path / "in", tmp_path / "out")
  assert len(built.as_data_source("train")) == 3


def test_no_sound_at_all_is_never_built(tmp_path):
  (tmp_path / "in" / "audio").mkdir(parents=True)
  (tmp_path / "in" / "audio" / "good.wav").write_bytes(b"nothing")
  made_up.write_json(tmp_path / "in", made_up.entries(["good"]))
  check_fails(
    tmp_path / "in",
    tmp_path,
    build.BuildError,
    "0.00% of the clips were used",
    min_coverage=0.0,
  )


def test_too_many_bad_entries_end_a_build(tmp_path):
  names = made_up.write_audio(tmp_path / "in", num_good=4)
  bad = [{"instruction": "What?"}, 3, made_up.question("good_00", 0, output="")]
  made_up.write_json(tmp_path / "in", made_up.entries(names) + bad)
  check_fails(
    tmp_path / "in",
    tmp_path,
    build.BuildError,
    "3 of 15 entries are wrong (20.00%, at most 1.00%: max_bad_entries)",
    "1 missing_key: left out: instruction, audio_id and output are needed",
    "1 not_an_object",
    "1 empty_answer",
  )
  built = made_up.build(tmp_path / "in", tmp_path / "out", max_bad_entries=0.2)
  report = read_report(built)
  assert set(report["entries"]["left_out"]) == {
    "missing_key",
    "not_an_object",
    "empty_answer",
  }


def test_what_the_folder_lacks_is_told(tmp_path):
  (tmp_path / "in").mkdir()
  check_fails(tmp_path / "in", tmp_path, AssertionError, "openaqa_5.6M.json")
  (tmp_path / "in" / "mine.json").write_text("[")
  check_fails(
    tmp_path / "in",
    tmp_path,
    plan.PlanError,
    "there is no openaqa_5.6M.json and no other published file (mine.json);"
    " name yours with json_files",
  )
  check_fails(
    tmp_path / "in",
    tmp_path,
    plan.PlanError,
    "json_files: *.jsonl fits no file",
    json_files=["*.jsonl"],
  )
  made_up.write_audio(tmp_path / "in", num_good=1)
  check_fails(
    tmp_path / "in",
    tmp_path,
    entries.JsonError,
    "mine.json: is no valid JSON: after 0 entries, where the file ends early",
    json_files=["mine.json"],
  )


def test_what_the_index_cannot_hold_ends_a_build_early(tmp_path):
  names = made_up.write_audio(tmp_path / "in", num_good=2)
  for key, kind in (("task", "tasks"), ("dataset", "data sets")):
    many = [
      made_up.question(names[0], 0, **{key: f"name {i:03d}"})
      for i in range(257)
    ]
    made_up.write_json(tmp_path / "in", many)
    message = f"there are 257 {kind}, as name 000, name 001, name 002; at most"
    check_fails(tmp_path / "in", tmp_path, plan.PlanError, message)
  same = [made_up.question(names[0], 0, output=f"{i}.") for i in range(32769)]
  made_up.write_json(tmp_path / "in", same)
  message = "32769 questions are about the clip good_00, at most 32768 can be"
  check_fails(tmp_path / "in", tmp_path, plan.PlanError, message)


def test_an_unknown_decoder_ends_a_build(folder, tmp_path):
  check_fails(
    folder, tmp_path, ValueError, "there are soundfile", decoder="sox"
  )


def test_max_examples_per_split_is_refused(folder, tmp_path):
  with pytest.raises(build.BuildError, match="does not take max_examples"):
    made_up.build(folder, tmp_path, {"max_examples_per_split": 3})


def test_importing_the_package_registers_the_builder():
  assert tfds_builders.openaqa_dataset_builder.Builder is Builder
  assert pathlib.Path(Builder.code_path).name == "openaqa_dataset_builder.py"
