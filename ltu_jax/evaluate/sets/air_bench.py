"""AIR-Bench, foundation part: the questions on sounds, of four tasks.

Foundation/Foundation_meta.json  a list of objects: uniq_id, path, task_name,
                                 dataset_name, question, choice_a to choice_d
                                 (c and d may be missing or null), answer_gt
Foundation/TASK_DATASET/         PATH; of Audio_Grounding .flac for .wav

Its questions on speech and music are left out.
"""

import pathlib
from collections.abc import Iterator

from ltu_jax.evaluate.sets import reading, tables
from ltu_jax.evaluate.sets.clip import Clip
from ltu_jax.evaluate.sets.label_list import LabelList
from ltu_jax.evaluate.sets.spec import Found
from ltu_jax.evaluate.sets.tables import Row

SOUND_TASKS = (
  "Audio_Grounding",
  "vocal_sound_classification",
  "Acoustic_Scene_Classification",
  "Sound_AQA",
)
"""As the file spells them."""

_INSTRUCTION = (
  "Choose the most suitable answer from options A, B, C, and D to respond the "
  "question in next line, you may only choose A or B or C or D."
)


def _clips(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """The questions on sounds that Foundation_meta.json lists."""
  del labels, question
  for row in tables.read_json(path):
    task = row.text("task_name", "")
    if task not in SOUND_TASKS:
      continue
    choices, answer = _choices(row), row.text("answer_gt")
    if answer not in choices:
      raise row.error(f"answer_gt {answer[:80]!r} is none of the choices")
    folder = f"{task}_{row.text('dataset_name')}"
    yield Clip(
      f"{folder}/{_id(row)}",
      (f"{folder}/{row.text('path')}",),
      (answer,),
      row.where,
      _question(row.text("question"), choices),
      choices=choices,
      group=task,
      # Tasks name their files alike: 3049.flac is there in several folders.
      in_place=True,
    )


def _id(row: Row) -> str:
  """uniq_id, which is a number."""
  value = row.values.get("uniq_id")
  if isinstance(value, int):
    return str(value)
  return row.text("uniq_id")


def _choices(row: Row) -> tuple[str, ...]:
  """Two to four texts."""
  first = [row.text("choice_a"), row.text("choice_b")]
  more = [row.text("choice_c", ""), row.text("choice_d", "")]
  if more[1] and not more[0]:
    raise row.error("there is a choice_d without a choice_c")
  return tuple(first + [choice for choice in more if choice])


def _question(question: str, choices: tuple[str, ...]) -> str:
  """What the owners' script asks; it has "None" for choices not there."""
  options = [
    f"{letter}. {choice}"
    for letter, choice in zip("ABCD", choices, strict=False)
  ]
  return "\n".join([_INSTRUCTION, question, *options])


_LAYOUT = reading.Layout(
  title="AIR-Bench",
  metadata=("Foundation/Foundation_meta.json", "Foundation_meta.json"),
  published="",
  clips=_clips,
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
