"""FSD50K, evaluation split: 10,231 clips with one or several of 200 classes.

FSD50K.ground_truth/eval.csv  fname,labels,mids; labels are parted by commas
FSD50K.eval_audio/            FNAME.wav

The owners' vocabulary.csv is not needed: its classes are in labels/fsd50k.csv.
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
from ltu_jax.evaluate.sets.clip import Clip
from ltu_jax.evaluate.sets.label_list import LabelList
from ltu_jax.evaluate.sets.spec import Found


def clips(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """What eval.csv or dev.csv lists."""
  folder = f"FSD50K.{path.stem}_audio"
  for row in tables.read_csv(path, ("fname", "labels")):
    name = row.text("fname")
    truth = [row.label(labels, each) for each in row.text("labels").split(",")]
    yield Clip(
      name,
      (f"{folder}/{name}.wav",),
      tuple(truth),
      row.where,
      question,
    )


_LAYOUT = reading.Layout(
  title="FSD50K",
  metadata=("FSD50K.ground_truth/eval.csv",),
  published="fsd50k_eval.json",
  clips=clips,
  published_clips=published_json.many_labels,
  question=questions.CAPTION,
  labels=label_list.read("fsd50k"),
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
