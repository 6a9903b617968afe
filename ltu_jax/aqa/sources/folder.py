"""A folder with a folder of sounds for each class: CLASS/CLIP.wav.

CLASS is the label, with spaces for underscores. Sounds deeper below count, too.
"""

import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.records import ClipRecord, Event
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets.audio_files import AudioFiles, stem


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips.

  Args:
    paths: The folder.
    dataset: What to call it; empty for the folder's name.

  Raises:
    AqaError: It is no folder, or has no sounds, or one outside of a class.
  """
  (folder,) = paths
  if not folder.is_dir():
    raise AqaError(f"{folder}: is no folder.")
  files = AudioFiles(folder).paths()
  if not files:
    raise AqaError(f"{folder}: has no sounds; they have to be CLASS/CLIP.wav.")
  dataset = dataset or folder.resolve().name
  for path in files:
    name = path.relative_to(folder).as_posix()
    label, _, rest = name.partition("/")
    if not rest:
      raise AqaError(
        f"{path}: lies in no class; it has to be in a folder CLASS in {folder}."
      )
    label = label.replace("_", " ").strip()
    record = ClipRecord(
      name.removesuffix(path.name) + stem(name),
      dataset,
      (Event(label),),
      audio=name,
    )
    yield Listed(record, (name,), str(path), in_place=True)
