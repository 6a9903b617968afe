"""Questions by row: from a list of records and from a TFDS data set."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow_datasets as tfds

import made_up_clips
from ltu_jax.data import question_index
from ltu_jax.data.question_index import QuestionIndex
from ltu_jax.data.question_source import QuestionSource, RecordError


class TinyAqa(tfds.core.GeneratorBasedBuilder):
  """A few clips with the features of OpenAQA."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    text = tfds.features.Text()
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {
          "id": text,
          "audio": tfds.features.Tensor(shape=(), dtype=np.object_),
          "questions": tfds.features.Sequence(
            {
              "instruction": text,
              "output": text,
              "task": text,
              "dataset": text,
            }
          ),
        }
      ),
    )

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples()}

  def _generate_examples(self):
    for clip in range(6):
      made_up = made_up_clips.record(clip, clip)
      lists = made_up["questions"]
      lists["task"] = ["caption"] * clip
      lists["dataset"] = ["mini"] * clip
      yield str(clip), made_up


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  """A prepared data set with its index, in whatever order TFDS wrote it."""
  folder = tmp_path_factory.mktemp("tfds")
  builder = TinyAqa(data_dir=folder, file_format="array_record")
  builder.download_and_prepare()
  clips = builder.as_data_source("train")
  places = [
    (number, q)
    for number in range(len(clips))
    for q in range(len(clips[number]["questions"]["output"]))
  ]
  clip, question = np.array(places).T
  index = QuestionIndex(
    clip=clip.astype(np.int32),
    question=question.astype(np.int16),
    task=np.ones(len(places), np.uint8),
    dataset=np.zeros(len(places), np.uint8),
    tasks=made_up_clips.TASKS,
    datasets=made_up_clips.DATASETS,
  )
  index.save(question_index.path(builder.data_path, "train"))
  return folder


def test_a_tfds_data_set_gives_every_question_with_its_own_clip(data_dir):
  source = QuestionSource.open("tiny_aqa", "train", data_dir)
  assert source.num_rows == len(source) == 0 + 1 + 2 + 3 + 4 + 5
  seen = set()
  for question in source:
    clip = int(question.clip_id.removeprefix("clip-"))
    place = int(question.output.removeprefix(f"Answer {clip}.")[0])
    assert question.instruction == f"Question {clip}.{place}: what?"
    assert question.output == f"Answer {clip}.{place}, café."
    assert (question.task, question.dataset) == ("caption", "mini")
    assert question.audio == made_up_clips.record(clip, 1)["audio"]
    seen.add((clip, place))
  assert seen == {(c, q) for c in range(6) for q in range(c)}


def test_describe_says_what_a_row_is_without_the_sound():
  records, index = made_up_clips.make()
  # Rows are (1, 0), (2, 0), (2, 1), (3, 0), ...
  assert QuestionSource(records, index).describe(2) == {
    "row": 2,
    "clip": 2,
    "clip_id": "clip-2",
    "instruction": "Question 2.1: what?",
    "input": "",
    "output": "Answer 2.1, café.",
    "task": "caption",
    "dataset": "mini",
  }


def test_a_question_may_have_more_text():
  records, index = made_up_clips.make()
  records[2]["questions"]["input"] = [b"", "Birds, café.".encode()]
  source = QuestionSource(records, index)
  # Rows are (1, 0), (2, 0), (2, 1), (3, 0), ...
  assert [source[row].input for row in range(4)] == ["", "", "Birds, café.", ""]
  assert source.describe(2)["input"] == "Birds, café."


def test_select_keeps_the_questions_of_a_task_and_data_set():
  source = QuestionSource(*made_up_clips.make())
  by_task = source.select(tasks=["cla_label", "temporal_order"])
  assert {q.task for q in by_task} == {"cla_label", "temporal_order"}
  both = source.select(tasks=["caption"], datasets=["other"])
  want = [q for q in source if (q.task, q.dataset) == ("caption", "other")]
  assert list(both) == want
  assert 0 < len(want) < len(source)
  assert list(source.select()) == list(source)
  # Selecting twice narrows further.
  assert list(source.select(["caption"]).select(datasets=["other"])) == want


def test_selecting_what_is_not_there_names_what_is():
  source = QuestionSource(*made_up_clips.make())
  with pytest.raises(ValueError, match="task 'captions'; there are cla_"):
    source.select(tasks=["caption", "captions"])
  with pytest.raises(ValueError, match="dataset 'vgg'; there are mini, other"):
    source.select(datasets=["vgg"])
  with pytest.raises(ValueError, match="no question is left"):
    source.select(["caption"]).select(tasks=["cla_label"])


def test_an_index_of_other_records_is_an_error():
  records, index = made_up_clips.make()
  with pytest.raises(ValueError, match="names clip 6 and there are 3"):
    QuestionSource(records[:3], index)
  fewer = [*records[:-1], made_up_clips.record(6, 2)]
  with pytest.raises(IndexError, match="'clip-6' has 2 questions"):
    _ = QuestionSource(fewer, index)[len(index.clip) - 1]


@pytest.fixture
def damaged(data_dir, tmp_path):
  """Opens a copy of the data set whose record file was changed."""
  folder = tmp_path / "tfds"
  shutil.copytree(data_dir, folder)
  (file,) = folder.rglob("*.array_record-*")

  def open_damaged(change):
    file.write_bytes(change(file.read_bytes()))
    return QuestionSource.open("tiny_aqa", "train", folder)

  return open_damaged


def test_a_damaged_record_is_one_error_with_its_number(data_dir, damaged):
  whole = QuestionSource.open("tiny_aqa", "train", data_dir)
  sound = made_up_clips.record(3, 3)["audio"]

  def flip(data):
    middle = data.index(sound[:200]) + len(sound) // 2
    return data[:middle] + bytes([data[middle] ^ 8]) + data[middle + 1 :]

  source = damaged(flip)
  bad = [row for row, q in enumerate(whole) if q.clip_id == "clip-3"]
  assert len(bad) == 3
  for row in range(source.num_rows):
    if row not in bad:
      # A reader that met a damaged record still reads the others.
      assert source[row] == whole[row]
      continue
    number = whole[row].clip
    with pytest.raises(
      RecordError,
      match=rf"^record {number}: cannot be read \(RuntimeError: .*data hash",
    ) as caught:
      source[row]
    assert (caught.value.clip, caught.value.clip_id) == (number, "")


@pytest.mark.parametrize(
  ("change", "reason"),
  [
    (lambda data: data[:-100], "RuntimeError: .*header hash mismatch"),
    # A multiple of 64 KiB: ArrayRecord finds no index and gives empty records.
    (lambda data: data[: len(data) // 2], "ValueError: .*NoneType"),
    (lambda data: b"", "RuntimeError: .*at least 64KB"),
  ],
)
def test_a_file_that_is_cut_has_no_record_that_can_be_read(
  damaged, change, reason
):
  source = damaged(change)
  for row in range(source.num_rows):
    with pytest.raises(RecordError, match=reason):
      source[row]


def test_a_record_that_is_no_example_is_one_error(data_dir, monkeypatch):
  source = QuestionSource.open("tiny_aqa", "train", data_dir)
  stored = list(source.clips.data_source)
  for record, reason in (
    (b"no Example", "DecodeError: Error parsing message"),
    (stored[0][:-7], "DecodeError: Error parsing message"),
    (b"", "ValueError: .*NoneType"),
  ):
    monkeypatch.setattr(source.clips, "data_source", [record] * len(stored))
    with pytest.raises(RecordError, match=rf"cannot be read \({reason}"):
      source[0]


def test_text_that_is_no_text_is_an_error_with_the_id():
  records, index = made_up_clips.make()
  records[2]["questions"]["output"][0] = b"caf\xe9"
  source = QuestionSource(records, index)
  with pytest.raises(RecordError, match=r"^record 2 \('clip-2'\): .*no UTF-8"):
    source[1]
  assert source[2].output == "Answer 2.1, café."
  records[2]["id"] = b"\xe9"
  with pytest.raises(RecordError, match=r"^record 2: .*no UTF-8"):
    source[2]


def test_mistakes_of_the_program_are_no_damage():
  records, index = made_up_clips.make()
  with pytest.raises(ValueError, match="names clip -1 and there are 7"):
    QuestionSource(records, dataclasses.replace(index, clip=index.clip - 2))
  source = QuestionSource(records, index)
  with pytest.raises(IndexError):
    source[len(source)]
  del records[2]["questions"]["output"]
  with pytest.raises(KeyError, match="output"):
    source[1]


def test_a_data_set_that_is_not_prepared_says_how_to(tmp_path, data_dir):
  for name in ("openaqa/mini", "tiny_aqa"):
    with pytest.raises(FileNotFoundError, match=f"{name} is not prepared in"):
      QuestionSource.open(name, "train", tmp_path)
  with pytest.raises(ValueError, match="no split 'dev'; it has train"):
    QuestionSource.open("tiny_aqa", "dev", data_dir)


def test_reading_imports_no_tensorflow(data_dir):
  # In its own process: other tests of this one may have imported it. The class
  # of the data set is unknown there, which is as it is read on a TPU host.
  program = f"""
    import sys
    from ltu_jax.data import openaqa, tokenizer
    from ltu_jax.data.question_source import QuestionSource
    source = QuestionSource.open("tiny_aqa", "train", {str(data_dir)!r})
    spm = tokenizer.SentencePieceTokenizer("tests/golden/tiny_spm.model")
    batches = openaqa.Batches(source, spm, batch_size=4, seed=0)
    batch = next(iter(batches.dataset()))
    assert batch["pcm"].shape == (4, 164080)
    assert batch["num_samples"].min() >= 1600
    print("tensorflow" in sys.modules)
  """
  done = subprocess.run(
    [sys.executable, "-c", textwrap.dedent(program)],
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.stdout == "False\n", done.stderr
