"""DCASE 2017 task 4 (sound events for smart cars): 17 classes.

groundtruth_release/groundtruth_weak_label_evaluation_set.csv
          without header, tabs: NAME.wav, start, end, label
anywhere  YNAME.wav: the owners' downloader puts a Y before each name

A clip of several labels has a row for each, and each row is an item, as in the
published evaluation file, whose truths have one label each: 1,350 rows of 1,103
clips. The testing set of the development data is read if the evaluation set's
file is not there.
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
  """What the ground truth lists, a clip for each row."""

  def rows() -> Iterator[Clip]:
    for row in tables.read_csv(path, widths=(4,), tabs=True):
      name = row.text(0)
      truth = row.label(labels, row.text(3).strip())
      yield Clip(stem(name), (f"Y{name}", name), (truth,), row.where, question)

  return reading.numbered(rows())


def _published(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """The same of the published file."""
  return reading.numbered(published_json.one_label(path, labels, question))


_LAYOUT = reading.Layout(
  title="DCASE 2017 task 4",
  metadata=(
    "groundtruth_release/groundtruth_weak_label_evaluation_set.csv",
    "groundtruth_weak_label_evaluation_set.csv",
    "groundtruth_weak_label_testing_set.csv",
  ),
  published="dcase17.json",
  clips=_clips,
  published_clips=_published,
  question=questions.CAPTION,
  labels=label_list.read("dcase2017"),
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
