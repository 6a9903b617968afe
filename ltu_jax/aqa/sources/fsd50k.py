"""FSD50K: clips with one or several of 200 classes.

FSD50K.ground_truth/dev.csv   fname,labels,mids,split; of train and val
FSD50K.ground_truth/eval.csv  fname,labels,mids
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa.sources import listed
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets import fsd50k, label_list, tables


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips; see `audioset.read`."""
  (table,) = paths
  labels = label_list.read("fsd50k")
  clips = listed.labelled(fsd50k.clips(table, labels, ""), "", "eval")
  # The same rows again, for a column that only one of the two files has.
  rows = tables.read_csv(table, ("fname", "labels"))
  for clip, row in zip(clips, rows, strict=True):
    split = row.text("split", "eval")
    record = dataclasses.replace(
      clip.record, dataset=dataset or f"fsd50k_{split}", split=split
    )
    yield dataclasses.replace(clip, record=record)
