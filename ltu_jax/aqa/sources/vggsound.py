"""VGGSound, the training split: one class a clip.

vggsound.csv  without header: YouTube id, first second, label, train or test
"""

import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa.sources import listed
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets import label_list, vggsound


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips; see `audioset.read`."""
  (table,) = paths
  clips = vggsound.clips(table, label_list.read("vggsound"), "", "train")
  return listed.labelled(clips, dataset or "vggsound_train", "train")
