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

from ltu_jax.data import bucket, question_index
from ltu_jax.data.question_index import QuestionIndex


@dataclasses.dataclass(frozen=True)
class Question:
  """One question about one clip, as stored.

  Attributes:
    clip: Record number of the clip in the split's data source.
    clip_id: Name of the clip.
    audio: Bytes of the clip's sound file, FLAC at 16 kHz.
    instruction: The question.
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


class QuestionSource(Sequence[Question]):
  """Questions by row number, read from the clips' records.

  Attributes:
    clips: The records, one a clip: any random-access sequence of mappings with
      `id` and `audio` (bytes) and `questions` (a mapping of lists of bytes:
      `instruction`, `output`).
    index: Which questions are in, in row order.
  """

  def __init__(self, clips: Sequence[Mapping[str, Any]], index: QuestionIndex):
    """Joins records and index.

    Raises:
      ValueError: If the index names a record that does not exist.
    """
    if len(index.clip) and not 0 <= index.clip.max() < len(clips):
      raise ValueError(
        f"the question index names clip {index.clip.max()} and there are"
        f" {len(clips)}: it belongs to other records"
      )
    self.clips = clips
    self.index = index

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
    return cls(builder.as_data_source(split), QuestionIndex.load(path))

  def select(
    self,
    tasks: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
  ) -> "QuestionSource":
    """Returns the questions of some tasks and data sets; None is all."""
    return QuestionSource(self.clips, self.index.select(tasks, datasets))

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
      IndexError: If there is no such row, or its record has no such question.
    """
    index = self.index
    clip, place = int(index.clip[row]), int(index.question[row])
    record = self.clips[clip]
    clip_id = _text(record["id"])
    instructions = record["questions"]["instruction"]
    if place >= len(instructions):
      raise IndexError(
        f"clip {clip_id!r} has {len(instructions)} questions and the index"
        f" names question {place}: it belongs to other records"
      )
    return Question(
      clip=clip,
      clip_id=clip_id,
      audio=record["audio"],
      instruction=_text(instructions[place]),
      output=_text(record["questions"]["output"][place]),
      task=index.tasks[index.task[row]],
      dataset=index.datasets[index.dataset[row]],
    )

  def describe(self, row: int) -> dict[str, str | int]:
    """Returns what a row is, in words, for logs and for finding a bad clip."""
    question = dataclasses.asdict(self[row])
    del question["audio"]
    return {"row": row, **question}


def _text(value: bytes | str) -> str:
  """Returns text that TFDS gives as bytes."""
  return value.decode() if isinstance(value, bytes) else value
