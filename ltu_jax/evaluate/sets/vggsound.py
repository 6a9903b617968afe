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


def _clips(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """The rows of vggsound.csv that are of the test split."""
  rows = [
    (row, row.text(0), row.number(1), row.label(labels, row.text(2)))
    for row in tables.read_csv(path, widths=(4,))
    if row.text(3) == "test"
  ]
  clips_of = collections.Counter(video for _, video, _, _ in rows)
  for row, video, start, truth in rows:
    names = youtube.names(video, start, start + 10, alone=clips_of[video] == 1)
    yield Clip(
      f"{video}_{round(start):06d}", names, (truth,), row.where, question
    )


_LAYOUT = reading.Layout(
  title="VGGSound",
  metadata=("vggsound.csv", "data/vggsound.csv"),
  published="vggsound_eval.json",
  clips=_clips,
  published_clips=published_json.one_label,
  question=questions.CAPTION,
  labels=label_list.read("vggsound"),
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
