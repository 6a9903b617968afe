"""Beijing Opera percussion instruments: 236 strokes, 4 classes.

beijing_opera_percussion_instrument_1.0/
    NUMBER__USER__bangu-01.wav, ...: the instrument is between the last
    underscore and the last hyphen (bangu, naobo, daluo or xiaoluo)

The owners have no list of the files: what is there is all.
"""

import pathlib
from collections.abc import Iterator

from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets import (
  label_list,
  published_json,
  questions,
  reading,
)
from ltu_jax.evaluate.sets.audio_files import AudioFiles
from ltu_jax.evaluate.sets.clip import Clip
from ltu_jax.evaluate.sets.spec import Found

_LAYOUT = reading.Layout(
  title="Beijing Opera percussion",
  metadata=(),
  published="beijing_opera.json",
  published_clips=published_json.one_label,
  question=questions.CAPTION,
  labels=label_list.read("beijing_opera"),
)


def find(folder: pathlib.Path) -> Found:
  """Reads the set; see `reading.find`."""
  if published_json.locate(folder, _LAYOUT.published):
    return reading.find(folder, _LAYOUT)
  files = AudioFiles(folder)
  if not files.paths():
    raise reading.SetNotThereError(
      f"{folder}: no {_LAYOUT.title} here: there is no sound file and no "
      f"{_LAYOUT.published}."
    )
  labels = _LAYOUT.labels.labels
  return reading.gather(_clips(files), files, _LAYOUT.title, (), labels)


def _clips(files: AudioFiles) -> Iterator[Clip]:
  """One for each file."""
  for path in files.paths():
    name = path.relative_to(files.folder).as_posix()
    instrument = path.stem.rpartition("-")[0].rpartition("_")[2]
    try:
      truth = _LAYOUT.labels.by_name(instrument.lower())
    except ValueError as error:
      known = ", ".join(_LAYOUT.labels.names)
      raise EvaluateError(
        f"{path}: its name has no instrument before a hyphen; known ones are "
        f"{known}."
      ) from error
    yield Clip(
      path.stem, (name,), (truth,), str(path), _LAYOUT.question, in_place=True
    )
