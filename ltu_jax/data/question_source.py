"""OpenAQA as a list of questions, each with its clip.

On disk a clip is stored once, with the list of its questions (see
tfds_builders/openaqa). A small index beside the records (question_index.py)
lists all questions, so that a stage can choose questions by task and shuffle
them globally without reading a clip. Nothing here imports TensorFlow: TFDS
reads ArrayRecord without it, from a disk or a bucket.

Letters: Q questions.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from etils import epath
from google.protobuf.message import DecodeError

from ltu_jax.data import bucket, question_index, question_texts
from ltu_jax.data.question_index import QuestionIndex

_READ_ERRORS = (RuntimeError, DecodeError, ValueError)
"""What reading a damaged record raises, found by damaging record files.

ArrayRecord gives RuntimeError for a wrong checksum and for a file that is cut
or gone, and for some cut files an empty record. Parsing gives DecodeError for
what is no Example, and ValueError for one that lacks a feature (an empty record
too).
"""


class PrepareError(ValueError):
  """Data that cannot be had or opened; the message says what to do."""


class RecordError(ValueError):
  """A clip's record that cannot be read; the message names it and says why.

  Attributes:
    clip: Record number of the clip.
    clip_id: Its name; "" where not even that can be read.
    reason: What is wrong.
  """

  def __init__(self, clip: int, clip_id: str, reason: str):
    """Keeps what is known."""
    super().__init__(clip, clip_id, reason)
    self.clip, self.clip_id, self.reason = clip, clip_id, reason

  def __str__(self) -> str:
    """The message."""
    name = f" ({self.clip_id!r})" if self.clip_id else ""
    return f"record {self.clip}{name}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Question:
  """One question about one clip, as stored.

  Attributes:
    clip: Record number of the clip in the split's data source.
    clip_id: Name of the clip.
    audio: Bytes of the clip's sound file, FLAC at 16 kHz.
    instruction: The question.
    input: More text of the question; empty in most.
    output: The answer.
    task: Kind of question, such as `cla_label`.
    dataset: Where the clip comes from, such as `as_strong_train`.
  """

  clip: int
  clip_id: str
  audio: bytes = dataclasses.field(repr=False)
  instruction: str
  output: str
  task: str
  dataset: str
  input: str = ""


class QuestionSource(Sequence[Question]):
  """Questions by row number, read from the clips' records.

  Attributes:
    clips: The records, one a clip: any random-access sequence of mappings with
      `id` and `audio` (bytes) and `questions` (a mapping of lists of bytes:
      `instruction`, `output`, and `input` where questions have more text).
    index: Which questions are in, in row order.
    version: Name and version of the data set; "" where it has none.
    texts: File of all texts (question_texts.py); None where there is none.
  """

  def __init__(
    self,
    clips: Sequence[Mapping[str, Any]],
    index: QuestionIndex,
    version: str = "",
    texts: epath.Path | None = None,
  ):
    """Joins records and index.

    Raises:
      ValueError: If the index names a record that does not exist.
    """
    # Checked here, as ArrayRecord gives a ValueError for a wrong number, which
    # is no damage of the record.
    for clip in (index.clip.min(), index.clip.max()) if len(index.clip) else ():
      if not 0 <= clip < len(clips):
        raise ValueError(
          f"the question index names clip {clip} and there are {len(clips)}:"
          " it belongs to other records"
        )
    self.clips = clips
    self.index = index
    self.version = version
    self.texts = texts

  @classmethod
  def open(
    cls, name: str, split: str, data_dir: str | os.PathLike | None = None
  ) -> "QuestionSource":
    """Opens a prepared TFDS data set.

    Args:
      name: Data set and config, such as `openaqa/mini`.
      split: `train` or `test`.
      data_dir: TFDS's folder, which may be `gs://BUCKET/FOLDER`; None takes
        TFDS's default.

    Raises:
      FileNotFoundError: If the data set is not prepared there.
      ValueError: If there is no such split, or the folder's kind of address
        cannot be read.
    """
    where = tfds.core.constants.DATA_DIR if data_dir is None else data_dir
    bucket.check_folder(where)
    missing = FileNotFoundError(bucket.how_to_prepare(name, where))
    try:
      builder = tfds.builder(name, data_dir=data_dir)
      is_prepared = builder.is_prepared()
    except (tfds.core.DatasetNotFoundError, FileNotFoundError) as e:
      # gcsfs raises the second where there is no such bucket.
      raise missing from e
    if not is_prepared:
      raise missing
    splits = builder.info.splits
    if split not in splits:
      raise ValueError(
        f"{name} has no split {split!r}; it has {', '.join(splits)}"
      )
    path = question_index.path(builder.data_path, split)
    texts = question_texts.path(builder.data_path, split)
    return cls(
      builder.as_data_source(split),
      QuestionIndex.load(path),
      builder.info.full_name,
      texts if texts.exists() else None,
    )

  def select(
    self,
    tasks: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
  ) -> "QuestionSource":
    """Returns the questions of some tasks and data sets; None is all."""
    index = self.index.select(tasks, datasets)
    return QuestionSource(self.clips, index, self.version, self.texts)

  @property
  def num_rows(self) -> int:
    """Number of questions, Q."""
    return len(self.index.clip)

  def __len__(self) -> int:
    """Returns the number of questions, Q."""
    return self.num_rows

  def __getitem__(self, row: int) -> Question:
    """Reads the record of a question's clip.

    Raises:
      RecordError: If the record cannot be read.
      IndexError: If there is no such row, or its record has no such question.
    """
    return self.several([row])[0]

  def several(self, rows: Sequence[int]) -> list[Question]:
    """Reads questions about one clip, and its record once.

    Raises:
      RecordError: If the record cannot be read.
      IndexError: If there is no such row, or its record has no such question.
    """
    index = self.index
    clip = int(index.clip[rows[0]])
    record = self.record(clip)
    clip_id = _text(record["id"], clip)
    found = []
    for row in rows:
      place = int(index.question[row])
      count = len(record["questions"]["instruction"])
      if place >= count:
        raise IndexError(
          f"clip {clip_id!r} has {count} questions and the index names question"
          f" {place}: it belongs to other records"
        )
      instruction, input_, output = _texts(record, place, clip, clip_id)
      question = Question(
        clip=clip,
        clip_id=clip_id,
        audio=record["audio"],
        instruction=instruction,
        input=input_,
        output=output,
        task=index.tasks[index.task[row]],
        dataset=index.datasets[index.dataset[row]],
      )
      found.append(question)
    return found

  def texts_of(self, clip: int) -> list[list[str]]:
    """Reads [instruction, input, output] of all questions of a record.

    Raises:
      RecordError: If it cannot be read.
    """
    record = self.record(clip)
    count = len(record["questions"]["instruction"])
    return [_texts(record, place, clip) for place in range(count)]

  def record(self, clip: int) -> Mapping[str, Any]:
    """Reads a clip's record; the one place that knows the readers' errors.

    Raises:
      RecordError: If it cannot be read.
    """
    try:
      return self.clips[clip]
    except _READ_ERRORS as error:
      reason = f"cannot be read ({type(error).__name__}: {error})"
      raise RecordError(clip, "", reason) from error

  def describe(self, row: int) -> dict[str, str | int]:
    """Returns what a row is, in words, for logs and for finding a bad clip."""
    question = dataclasses.asdict(self[row])
    del question["audio"]
    return {"row": row, **question}


def _texts(
  record: Mapping[str, Any], place: int, clip: int, clip_id: str = ""
) -> list[str]:
  """[instruction, input, output] of a record's question."""
  questions = record["questions"]
  text = lambda key: _text(questions[key][place], clip, clip_id)
  more = text("input") if "input" in questions else ""
  return [text("instruction"), more, text("output")]


def _text(value: bytes | str, clip: int, clip_id: str = "") -> str:
  """Returns text that TFDS gives as bytes; raises RecordError if it is none."""
  try:
    return value.decode() if isinstance(value, bytes) else value
  except UnicodeDecodeError as error:
    reason = f"holds a text that is no UTF-8 ({error})"
    raise RecordError(clip, clip_id, reason) from error
