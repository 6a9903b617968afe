"""ESC-50: one class a clip; its five folds are the splits.

meta/esc50.csv  filename,fold,target,category,esc10,src_file,take
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa.sources import listed
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets import esc50, label_list, tables


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips; see `audioset.read`."""
  (table,) = paths
  clips = esc50.clips(table, label_list.read("esc50"), "")
  rows = tables.read_csv(table, ("filename", "fold", "category"))
  for clip, row in zip(
    listed.labelled(clips, dataset or "esc50", ""), rows, strict=True
  ):
    record = dataclasses.replace(clip.record, split=f"fold{row.text('fold')}")
    yield dataclasses.replace(clip, record=record)
