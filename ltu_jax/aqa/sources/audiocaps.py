"""AudioCaps: clips of AudioSet with a caption (train) or five.

train.csv, val.csv, test.csv  audiocap_id,youtube_id,start_time,caption
"""

import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa.sources import listed
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets import audiocaps, label_list


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips; see `audioset.read`."""
  (table,) = paths
  clips = audiocaps.clips(table, label_list.NONE, "")
  return listed.captioned(
    clips, dataset or f"audiocaps_{table.stem}", table.stem
  )
