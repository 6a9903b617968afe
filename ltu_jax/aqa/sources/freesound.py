"""FreeSound and SoundBible as WavCaps has them, and JSON lists like it.

fsd_final.json, sb_final.json, ...
  {"data": [{"id": "180913", "caption": "Rain.", "duration": 8.5, ...}, ...]}

`id` names the sound file, with or without an ending. `caption` is a text or a
list of texts. `tags`, where an entry has them, are not taken for labels.
"""

import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa.records import ClipRecord
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets import tables
from ltu_jax.evaluate.sets.audio_files import stem
from ltu_jax.evaluate.sets.tables import Row

_DATASETS = {"fsd_final": "freesound", "sb_final": "soundbible"}
"""By the name of WavCaps' file."""


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips; see `audioset.read`."""
  (table,) = paths
  dataset = dataset or _DATASETS.get(table.stem, "freesound")
  for row in tables.read_json(table, "data"):
    name = _name(row)
    record = ClipRecord(
      stem(name), dataset, captions=_captions(row), audio=name
    )
    yield Listed(record, (name,), row.where, seconds=_seconds(row))


def _name(row: Row) -> str:
  """The file's name."""
  value = row.values.get("id")
  return str(value) if type(value) is int else row.text("id")


def _captions(row: Row) -> tuple[str, ...]:
  """One caption or several."""
  value = row.values.get("caption")
  if not isinstance(value, list):
    return (row.text("caption"),)
  if not value or not all(isinstance(x, str) and x.strip() for x in value):
    raise row.error("caption has to be a text, or a list of texts")
  return tuple(value)


def _seconds(row: Row) -> float | None:
  """How long it is."""
  value = row.values.get("duration")
  if value is None:
    return None
  if type(value) not in (int, float) or not 0 <= value < 1e9:
    raise row.error(f"duration is {str(value)[:40]!r}, no time in seconds")
  return float(value)
