"""A small table of all questions of a split, to select and shuffle them by.

A stage of the curriculum asks for questions (of some tasks), not for clips. The
table says for each question in which record it is, which of the record's
questions it is, and of what task and data set, so that no audio is read to find
out. It lies beside the record files as `question_index-SPLIT.npz` and needs
NumPy alone.

Shapes: Q questions of the split.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath


@dataclasses.dataclass(frozen=True)
class QuestionIndex:
  """Where each question is, in order of record and of question.

  Attributes:
    clip: int32 [Q]: number of the record in the split's data source.
    question: int16 [Q]: which of the record's questions.
    task: uint8 [Q]: index into `tasks`.
    dataset: uint8 [Q]: index into `datasets`.
    tasks: Text [number of tasks]: names, sorted.
    datasets: Text [number of data sets]: names, sorted.
  """

  clip: np.ndarray
  question: np.ndarray
  task: np.ndarray
  dataset: np.ndarray
  tasks: np.ndarray
  datasets: np.ndarray


def make(
  clips: Iterable[Sequence[tuple[str, str]]],
) -> QuestionIndex:
  """Makes the table.

  Args:
    clips: For each record, in their order, (task, data set) of each question.

  Returns:
    The table.
  """
  where, names = [], []
  for clip, questions in enumerate(clips):
    for question, (task, dataset) in enumerate(questions):
      where.append((clip, question))
      names.append((task, dataset))
  clip, question = np.array(where).reshape(-1, 2).T
  task, dataset = np.array(names, dtype=np.str_).reshape(-1, 2).T
  tasks, task = np.unique(task, return_inverse=True)
  datasets, dataset = np.unique(dataset, return_inverse=True)
  return QuestionIndex(
    clip=clip.astype(np.int32),
    question=question.astype(np.int16),
    task=task.astype(np.uint8),
    dataset=dataset.astype(np.uint8),
    tasks=tasks,
    datasets=datasets,
  )


def path(data_dir: epath.PathLike, split: str) -> epath.Path:
  """Returns where the table of a split lies."""
  return epath.Path(data_dir) / f"question_index-{split}.npz"


def save(index: QuestionIndex, data_dir: epath.PathLike, split: str) -> None:
  """Writes the table beside the record files."""
  with path(data_dir, split).open("wb") as file:
    np.savez(file, **dataclasses.asdict(index))


def load(data_dir: epath.PathLike, split: str) -> QuestionIndex:
  """Reads the table of a split.

  Args:
    data_dir: Where the record files lie (`builder.data_dir`).
    split: Name of the split.

  Returns:
    The table.

  Raises:
    FileNotFoundError: If the data set was not built, or not by this builder.
  """
  with path(data_dir, split).open("rb") as file, np.load(file) as arrays:
    return QuestionIndex(**arrays)
