"""AudioCaps, test split: 975 clips of ten seconds with five captions each.

test.csv  audiocap_id,youtube_id,start_time,caption; five rows a clip
anywhere  sound files by YouTube id, see youtube.py
"""

import collections
import pathlib
from collections.abc import Iterator

from ltu_jax.evaluate.sets import (
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
  """What test.csv, train.csv or val.csv lists: a clip with all its captions."""
  del labels
  columns = ("audiocap_id", "youtube_id", "start_time", "caption")
  rows = list(tables.read_csv(path, columns))
  reading.check_unique(rows, "audiocap_id")
  starts = collections.defaultdict(set)
  for row in rows:
    starts[row.text("youtube_id")].add(row.number("start_time"))

  def each() -> Iterator[Clip]:
    for row in rows:
      video, start = row.text("youtube_id"), row.number("start_time")
      alone = len(starts[video]) == 1
      yield Clip(
        video if alone else f"{video}_{round(start)}",
        youtube.names(video, start, start + 10, alone=alone),
        (row.text("caption"),),
        row.where,
        question,
      )

  return reading.joined(each())


def _published(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """The published file has a row for each caption."""
  return reading.joined(published_json.captions(path, labels, question))


_LAYOUT = reading.Layout(
  title="AudioCaps",
  metadata=("test.csv", "dataset/test.csv"),
  published="audiocaps_test.json",
  clips=clips,
  published_clips=_published,
  question=questions.AUDIOCAPS,
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
