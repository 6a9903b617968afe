"""Clotho, evaluation split: 1,045 clips with five captions each.

clotho_captions_evaluation.csv  file_name,caption_1,...,caption_5
evaluation/                     FILE_NAME
"""

import pathlib
from collections.abc import Iterator

from ltu_jax.evaluate.sets import published_json, questions, reading, tables
from ltu_jax.evaluate.sets.audio_files import stem
from ltu_jax.evaluate.sets.clip import Clip
from ltu_jax.evaluate.sets.label_list import LabelList
from ltu_jax.evaluate.sets.spec import Found


def clips(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """What clotho_captions_SPLIT.csv lists; the sounds are in a folder SPLIT."""
  del labels
  split = split_of(path)
  for row in tables.read_csv(path, ("file_name", "caption_1")):
    name = row.text("file_name").strip()
    columns = [c for c in row.values if c.startswith("caption_")]
    captions = tuple(row.text(column) for column in columns)
    yield Clip(stem(name), (f"{split}/{name}",), captions, row.where, question)


def split_of(path: pathlib.Path) -> str:
  """`development`, `validation` or `evaluation`, by the name of the table."""
  return path.stem.removeprefix("clotho_captions_")


def _published(
  path: pathlib.Path, labels: LabelList, question: str
) -> Iterator[Clip]:
  """The published file has a row for each caption."""
  return reading.joined(published_json.captions(path, labels, question))


_LAYOUT = reading.Layout(
  title="Clotho",
  metadata=("clotho_captions_evaluation.csv",),
  published="clotho_caption_evaluation.json",
  clips=clips,
  published_clips=_published,
  question=questions.CLOTHO,
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
