"""A small table of all questions of a split, to select and shuffle them by.

A stage of the curriculum asks for questions (of some tasks), not for clips. The
table says for each question in which record it is, which of the record's
questions it is, and of what task and data set, so that no audio is read to find
out: 8 bytes a question, 45 MB for the 5.7 million of OpenAQA. It lies beside
the record files as `question_index-SPLIT.npz`. NumPy and etils alone are
needed, as builders write it where there is no JAX.

Letters: Q questions of the split.
"""

import dataclasses
import hashlib
import io
from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath

CLASSIFICATION = ("cla_label", "cla_label_des")
"""Labels, and labels with acoustic features: 1,190,489 questions of OpenAQA."""

CLOSED_ENDED = (
  *CLASSIFICATION,
  "caption",
  "temporal_order",
  "temporal_single",
  "temporal_all",
)
"""All closed-ended: 1,917,894 questions of OpenAQA."""

OPEN_ENDED = ("open-ended question",)
"""Made by a language model: 3,763,814 questions of OpenAQA."""

MAX_NAMES = 256
"""Tasks, and data sets, that a table can tell apart."""

MAX_QUESTIONS = 1 << 15
"""Questions of one clip that a table can hold."""

_ARRAYS = ("clip", "question", "task", "dataset")
_DTYPES = (np.int32, np.int16, np.uint8, np.uint8)


@dataclasses.dataclass(frozen=True)
class QuestionIndex:
  """Where each question is and of which kind, in order of record and question.

  Attributes:
    clip: int32 [Q], record number in the split's data source.
    question: int16 [Q], place in the clip's list of questions.
    task: uint8 [Q], place in `tasks`.
    dataset: uint8 [Q], place in `datasets`.
    tasks: Names of the tasks, sorted.
    datasets: Names of the data sets, sorted.
  """

  clip: np.ndarray
  question: np.ndarray
  task: np.ndarray
  dataset: np.ndarray
  tasks: tuple[str, ...]
  datasets: tuple[str, ...]

  def __post_init__(self):
    """Checks that the arrays describe the same questions."""
    shapes = {np.shape(getattr(self, name)) for name in _ARRAYS}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
      raise ValueError(
        f"clip, question, task and dataset need one shape [Q], not {shapes}"
      )

  def digest(self) -> str:
    """16 hexadecimal digits that another table would not have."""
    digest = hashlib.sha256(repr((self.tasks, self.datasets)).encode())
    for name, dtype in zip(_ARRAYS, _DTYPES, strict=True):
      digest.update(np.ascontiguousarray(getattr(self, name), dtype))
    return digest.hexdigest()[:16]

  @classmethod
  def make(cls, clips: Iterable[Sequence[tuple[str, str]]]) -> "QuestionIndex":
    """Makes the table.

    Args:
      clips: For each record, in their order, (task, data set) of each question.

    Raises:
      ValueError: If a clip has more than 32,767 questions, or there are more
        than 256 tasks or data sets.
    """
    where, task, dataset = [], [], []
    for clip, questions in enumerate(clips):
      for question, names in enumerate(questions):
        where.append((clip, question))
        task.append(names[0])
        dataset.append(names[1])
    clip, question = np.array(where, np.int64).reshape(-1, 2).T
    tasks, task = _ids(task)
    datasets, dataset = _ids(dataset)
    return cls(
      clip=_fit(clip, np.int32, "clips"),
      question=_fit(question, np.int16, "questions of one clip"),
      task=_fit(task, np.uint8, "tasks"),
      dataset=_fit(dataset, np.uint8, "data sets"),
      tasks=tasks,
      datasets=datasets,
    )

  @classmethod
  def join(
    cls, parts: Sequence["QuestionIndex"], num_clips: Sequence[int]
  ) -> "QuestionIndex":
    """Joins the tables of parts of a split into one.

    Args:
      parts: Tables of consecutive records; each counts its clips from 0.
      num_clips: Records of each part, those without questions too.

    Raises:
      ValueError: As `make`.
    """
    tasks = tuple(sorted({name for part in parts for name in part.tasks}))
    datasets = tuple(sorted({name for p in parts for name in p.datasets}))
    starts = np.cumsum([0, *num_clips])
    columns = {name: [] for name in _ARRAYS}
    for part, start in zip(parts, starts, strict=False):
      columns["clip"].append(part.clip + start)
      columns["question"].append(part.question)
      for ids, names, all_names, column in (
        (part.task, part.tasks, tasks, columns["task"]),
        (part.dataset, part.datasets, datasets, columns["dataset"]),
      ):
        places = [all_names.index(name) for name in names]
        column.append(np.array(places, np.int64)[ids])
    joined = {
      name: _fit(np.concatenate([*values, np.zeros(0, np.int64)]), dtype, name)
      for (name, values), dtype in zip(columns.items(), _DTYPES, strict=True)
    }
    return cls(**joined, tasks=tasks, datasets=datasets)

  def save(self, path: epath.PathLike) -> None:
    """Writes a `question_index-SPLIT.npz`; the same table, the same bytes."""
    file = io.BytesIO()
    np.savez(
      file,
      **{name: getattr(self, name) for name in _ARRAYS},
      tasks=np.array(self.tasks, np.str_),
      datasets=np.array(self.datasets, np.str_),
    )
    epath.Path(path).write_bytes(file.getvalue())

  @classmethod
  def load(cls, path: epath.PathLike) -> "QuestionIndex":
    """Reads a `question_index-SPLIT.npz`, from a disk or a bucket.

    Raises:
      FileNotFoundError: If there is none.
    """
    path = epath.Path(path)
    if not path.exists():
      raise FileNotFoundError(
        f"{path}: no question index; prepare the data set again with the"
        " present builder"
      )
    with np.load(io.BytesIO(path.read_bytes())) as arrays:
      return cls(
        **{name: arrays[name] for name in _ARRAYS},
        tasks=tuple(arrays["tasks"].tolist()),
        datasets=tuple(arrays["datasets"].tolist()),
      )

  def select(
    self,
    tasks: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
  ) -> "QuestionIndex":
    """Returns the index of the questions of some tasks and data sets.

    Args:
      tasks: Names to keep, such as `CLOSED_ENDED`; None keeps all.
      datasets: Names to keep; None keeps all.

    Raises:
      ValueError: If a name is unknown, or no question is left.
    """
    keep = np.ones(len(self.clip), bool)
    for kind, known, chosen, ids in (
      ("task", self.tasks, tasks, self.task),
      ("dataset", self.datasets, datasets, self.dataset),
    ):
      if chosen is None:
        continue
      unknown = sorted(set(chosen) - set(known))
      if unknown:
        raise ValueError(
          f"no question has the {kind} {unknown[0]!r}; there are"
          f" {', '.join(known)}"
        )
      keep &= np.isin(ids, [known.index(name) for name in chosen])
    if not keep.any():
      raise ValueError(
        f"no question is left of tasks {tasks} and datasets {datasets}"
      )
    kept = {name: getattr(self, name)[keep] for name in _ARRAYS}
    return dataclasses.replace(self, **kept)


def path(data_dir: epath.PathLike, split: str) -> epath.Path:
  """Returns where the table of a split lies: beside the record files."""
  return epath.Path(data_dir) / f"question_index-{split}.npz"


def _ids(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
  """Returns the different names, sorted, and the place of each among them.

  An array of all names would be as wide as the longest.
  """
  different = tuple(sorted(set(names)))
  places = {name: place for place, name in enumerate(different)}
  return different, np.array([places[name] for name in names], np.int64)


def _fit(values: np.ndarray, dtype: type, what: str) -> np.ndarray:
  """Casts counts from 0 to a small type; raises ValueError if too many."""
  most = np.iinfo(dtype).max
  if len(values) and values.max() > most:
    raise ValueError(
      f"the question index holds at most {most + 1} {what}, not"
      f" {values.max() + 1}"
    )
  return values.astype(dtype)
