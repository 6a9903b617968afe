"""VGGSound, test split: 15,446 clips of ten seconds, 309 classes.

vggsound.csv  without header: YouTube id, first second, label, train or test
anywhere      ID_000030.wav (six digits: the first second), or see youtube.py
"""

import collections
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
from ltu_jax.evaluate.sets.tables import Row


def clips(
  path: pathlib.Path, labels: LabelList, question: str, split: str = "test"
) -> Iterator[Clip]:
  """The rows of vggsound.csv that are of a split, `train` or `test`."""
  clips_of = collections.Counter(row.text(0) for row in _rows(path, split))
  for row in _rows(path, split):
    video, start = row.text(0), row.number(1)
    truth = row.label(labels, row.text(2))
    names = youtube.names(video, start, start + 10, alone=clips_of[video] == 1)
    yield Clip(
      f"{video}_{round(start):06d}", names, (truth,), row.where, question
    )


def _rows(path: pathlib.Path, split: str) -> Iterator[Row]:
  """Rows of a split."""
  for row in tables.read_csv(path, widths=(4,)):
    if row.text(3) == split:
      yield row


_LAYOUT = reading.Layout(
  title="VGGSound",
  metadata=("vggsound.csv", "data/vggsound.csv"),
  published="vggsound_eval.json",
  clips=clips,
  published_clips=published_json.one_label,
  question=questions.CAPTION,
  labels=label_list.read("vggsound"),
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
