"""TUT Acoustic Scenes 2017, evaluation set: 1,620 clips, 15 classes.

evaluation_setup/evaluate.txt  without header, tabs: audio/NAME.wav, scene; a
                               further cell is not used
audio/                         NAME.wav
"""

import pathlib
from collections.abc import Iterator

from ltu_jax.evaluate.sets import (
  label_list,
  published_json,
  questions,
  reading,
  tables,
)
from ltu_jax.evaluate.sets.audio_files import stem
from ltu_jax.evaluate.sets.clip import Clip
from ltu_jax.evaluate.sets.label_list import LabelList
from ltu_jax.evaluate.sets.spec import Found


def _clips(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """What evaluate.txt lists."""
  for row in tables.read_csv(path, widths=(2, 3), tabs=True):
    name = row.text(0)
    truth = row.label(labels, row.text(1).strip())
    yield Clip(stem(name), (name,), (truth,), row.where, question)


_LAYOUT = reading.Layout(
  title="TUT Acoustic Scenes 2017",
  metadata=("evaluation_setup/evaluate.txt",),
  published="tut_17.json",
  clips=_clips,
  published_clips=published_json.one_label,
  question=questions.CAPTION,
  labels=label_list.read("tut2017"),
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
