"""Options of openaqa/full, and everything that ends a build."""

import shutil

import pytest
import tensorflow_datasets as tfds

import made_up_openaqa as made_up
from ltu_jax.data import question_index
from ltu_jax.data.question_index import QuestionIndex
from tfds_builders.openaqa import openaqa_dataset_builder
from tfds_builders.openaqa.full import build, entries, plan

Builder = openaqa_dataset_builder.Builder


def test_options_change_what_is_built(tmp_path):
  names = made_up.write_audio(tmp_path / "in", num_good=4)
  questions = made_up.entries(names)
  questions += [questions[0], questions[0] | {"output": "It is unclear."}]
  made_up.write_json(tmp_path / "in", questions)

  def count(out, **options):
    built = made_up.build(tmp_path / "in", tmp_path / out, **options)
    index = QuestionIndex.load(question_index.path(built.data_dir, "train"))
    return len(index.clip), made_up.report(built)["entries"]

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
  report = made_up.report(built)
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
  report = made_up.report(built)
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


@pytest.mark.parametrize(
  ("option", "message"),
  [
    ({"max_examples_per_split": 3}, "does not take max_examples_per_split;"),
    ({"max_shard_size": 1 << 20}, "not take max_shard_size; give num_shards"),
    ({"num_shards": 0}, "num_shards is 0; give 1 or more"),
  ],
)
def test_options_of_tfds_that_are_not_followed(
  folder, tmp_path, option, message
):
  with pytest.raises(build.BuildError, match=message):
    made_up.build(folder, tmp_path, option)


def test_files_are_named_as_people_name_them(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  made_up.write(tmp_path / "in", num_good=3)
  (tmp_path / "in" / made_up.JSON).rename(tmp_path / "q[1].json")
  (tmp_path / "folder.json").mkdir()
  built = made_up.build(
    tmp_path / "in",
    tmp_path / "out",
    json_files=["~/q[1].json", str(tmp_path / "*.json")],
    audio_roots="~/in/audio/",
  )
  assert len(built.as_data_source("train")) == 3
  assert len(made_up.report(built)["files"]) == 1
  message = r"\*\* is not understood; give folders"
  with pytest.raises(plan.PlanError, match=message):
    made_up.build(tmp_path / "in", tmp_path / "2", json_files=["**/q.json"])
