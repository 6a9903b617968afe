"""The published evaluation files: lists of objects like OpenAQA's.

Each has `audio_id`, a path of the authors' disks of which the name is used, and
`output`, what is true after the last colon. Of the closed-ended sets the
question in the file is not asked: one fixed question is.
"""

import pathlib
from collections.abc import Iterator

from ltu_jax.evaluate.sets import tables
from ltu_jax.evaluate.sets.audio_files import stem
from ltu_jax.evaluate.sets.clip import Clip
from ltu_jax.evaluate.sets.label_list import LabelList
from ltu_jax.evaluate.sets.tables import Row


def locate(folder: pathlib.Path, name: str) -> pathlib.Path | None:
  """The file, in a set's folder or in the one above; None if in neither."""
  if not name:
    return None
  places = (folder / name, folder.parent / name)
  return next((path for path in places if path.is_file()), None)


def one_label(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """Yields the clips of a set with one label a row.

  Raises:
    EvaluateError: The file is damaged, or a label unknown.
  """
  for row in tables.read_json(path):
    yield _clip(row, question, (_label(row, labels, _truth(row)),))


def many_labels(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """Yields the clips of a set with labels that semicolons separate.

  Raises:
    EvaluateError: The file is damaged, or a label unknown.
  """
  for row in tables.read_json(path):
    texts = _truth(row, colon=": ").split("; ")
    truth = dict.fromkeys(_label(row, labels, text) for text in texts)
    yield _clip(row, question, tuple(truth))


def captions(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """Yields a clip for each row, that is for each caption.

  Raises:
    EvaluateError: The file is damaged.
  """
  del labels
  for row in tables.read_json(path):
    yield _clip(row, question, (_truth(row),))


def open_ended(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """Yields rows, each with its own question; ids are their numbers from 1.

  Raises:
    EvaluateError: The file is damaged.
  """
  del labels, question
  for number, row in enumerate(tables.read_json(path), 1):
    yield Clip(
      str(number),
      _names(row),
      (row.text("output"),),
      row.where,
      row.text("instruction"),
      row.text("input", ""),
    )


def _clip(row: Row, question: str, truth: tuple[str, ...]) -> Clip:
  """A row of a closed-ended set."""
  return Clip(
    stem(row.text("audio_id")), _names(row), truth, row.where, question
  )


def _names(row: Row) -> tuple[str, ...]:
  """Names of a row's sound: downloaders put a Y before YouTube's ids or not."""
  audio = row.text("audio_id")
  name = pathlib.PurePosixPath(audio).name
  return audio, f"Y{name}", name.removeprefix("Y")


def _truth(row: Row, colon: str = ":") -> str:
  """What stands after the last colon."""
  text = row.text("output").split(colon)[-1].strip()
  if not text:
    raise row.error("output has nothing after its last colon")
  return text


def _label(row: Row, labels: LabelList, text: str) -> str:
  """A label of the list."""
  try:
    return labels.by_text(text)
  except ValueError as error:
    raise row.error(error) from error
