"""VocalSound, test split: 3,591 clips, 6 classes.

datafiles/te.json  {"data": [{"wav": ".../f0003_0_laughter.wav", ...}, ...]}
audio_16k/         f0003_0_laughter.wav: speaker, collection, class

The owners' class codes in te.json say the same as the names of the files, which
their description explains.
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
  """What te.json lists."""
  for row in tables.read_json(path, "data"):
    name = stem(row.text("wav"))
    truth = row.label(labels, name.rpartition("_")[2])
    # The release at 44.1 kHz has the same names in audio_44k.
    yield Clip(name, (f"audio_16k/{name}.wav",), (truth,), row.where, question)


_LAYOUT = reading.Layout(
  title="VocalSound",
  metadata=("datafiles/te.json",),
  published="vocalsound_test.json",
  clips=_clips,
  published_clips=published_json.one_label,
  question=questions.CAPTION,
  labels=label_list.read("vocalsound"),
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  return reading.find(folder, _LAYOUT)
