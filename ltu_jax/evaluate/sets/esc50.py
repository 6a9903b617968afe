"""ESC-50: 2000 clips of five seconds, all five folds, 50 classes.

meta/esc50.csv  filename,fold,target,category,esc10,src_file,take
audio/          1-100032-A-0.wav, ...
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


def clips(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """What meta/esc50.csv lists."""
  for row in tables.read_csv(path, ("filename", "category")):
    name = row.text("filename")
    truth = row.label(labels, row.text("category"))
    yield Clip(stem(name), (f"audio/{name}",), (truth,), row.where, question)


_LAYOUT = reading.Layout(
  title="ESC-50",
  metadata=("meta/esc50.csv",),
  published="esc50.json",
  clips=clips,
  published_clips=published_json.one_label,
  question=questions.CAPTION,
  labels=label_list.read("esc50"),
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
