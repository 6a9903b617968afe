"""Meta information as it was published with LTU: events, times and a caption.

FILE.json  a list of objects with audio_id, dataset, temporal and caption; see
  ../meta_line.py
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa import meta_line
from ltu_jax.aqa.sources.listed import Listed


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips; see `audioset.read`."""
  (path,) = paths
  for number, record in enumerate(meta_line.read_published(path), 1):
    name = record.audio.rpartition("/")[2]
    record = dataclasses.replace(
      record, dataset=dataset or record.dataset or path.stem, audio=name
    )
    # Downloaders put a Y before YouTube's ids or not.
    names = (name, f"Y{name}", name.removeprefix("Y"))
    yield Listed(record, names, f"{path}, entry {number}")
