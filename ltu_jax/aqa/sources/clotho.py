"""Clotho: clips with five captions each.

clotho_captions_SPLIT.csv  file_name,caption_1,...,caption_5; SPLIT is
  development, validation or evaluation
"""

import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa.sources import listed
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets import clotho, label_list


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips; see `audioset.read`."""
  (table,) = paths
  split = clotho.split_of(table)
  clips = clotho.clips(table, label_list.NONE, "")
  return listed.captioned(clips, dataset or f"clotho_{split}", split)
