"""MMAU, the test-mini questions: 1000 on sounds, music and speech.

mmau-test-mini.json  a list of objects: id, audio_id, question, choices, answer,
                     task (sound, music, speech), difficulty and more
test-mini-audios/    ID.wav

Answers of the whole test set (mmau-test.json) are not public.
"""

import pathlib
from collections.abc import Iterator

from ltu_jax.evaluate.sets import reading, tables
from ltu_jax.evaluate.sets.clip import Clip
from ltu_jax.evaluate.sets.label_list import LabelList
from ltu_jax.evaluate.sets.spec import Found
from ltu_jax.evaluate.sets.tables import Row


def _clips(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """What mmau-test-mini.json lists."""
  del labels, question
  for row in tables.read_json(path):
    choices, answer = _choices(row), row.text("answer")
    if answer not in choices:
      raise row.error(f"the answer {answer[:80]!r} is not among the choices")
    yield Clip(
      row.text("id"),
      (row.text("audio_id"),),
      (answer,),
      row.where,
      _question(row.text("question"), choices),
      choices=choices,
      group=row.text("task"),
    )


def _choices(row: Row) -> tuple[str, ...]:
  """Two or more texts; the published file has some twice in a row."""
  choices = row.values.get("choices")
  if not isinstance(choices, list) or len(choices) < 2:
    raise row.error("choices must be a list of two or more")
  if not all(isinstance(each, str) and each.strip() for each in choices):
    raise row.error("choices must be texts that are not empty")
  return tuple(choices)


def _question(question: str, choices: tuple[str, ...]) -> str:
  """The question with its choices, each once.

  They have no letters: the owners score the words of an answer, and a letter
  "A" would count as the word in "A child".
  """
  listed = "\n".join(dict.fromkeys(choices))
  return f"{question}\nChoose one of these answers:\n{listed}"


_LAYOUT = reading.Layout(
  title="MMAU",
  metadata=("mmau-test-mini.json",),
  published="",
  clips=_clips,
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
