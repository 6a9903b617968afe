"""AudioSet, evaluation segments: 20,371 clips with several of 527 classes.

eval_segments.csv  three comment lines, then YTID, start, end, "MID,MID,..."
anywhere           sound files by YouTube id, see youtube.py

The owners' class_labels_indices.csv is not needed: its classes are in
labels/audioset.csv.
"""

import pathlib
from collections.abc import Iterator

from ltu_jax.evaluate.sets import (
  label_list,
  published_json,
  questions,
  reading,
  tables,
  youtube,
)
from ltu_jax.evaluate.sets.clip import Clip
from ltu_jax.evaluate.sets.label_list import LabelList
from ltu_jax.evaluate.sets.spec import Found


def clips(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """What eval_segments.csv lists, or another segments file of the owners."""
  for row in tables.read_csv(path, widths=(4,), comments=True):
    video = row.text(0)
    names = youtube.names(video, row.number(1), row.number(2), alone=True)
    truth = [row.label(labels, mid) for mid in row.text(3).split(",")]
    yield Clip(video, names, tuple(truth), row.where, question)


_LAYOUT = reading.Layout(
  title="AudioSet",
  metadata=("eval_segments.csv",),
  published="audioset_eval.json",
  clips=clips,
  published_clips=published_json.many_labels,
  question=questions.CAPTION,
  labels=label_list.read("audioset"),
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
