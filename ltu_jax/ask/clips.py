"""Sound files: finding them in folders, and reading what the model hears."""

import dataclasses
import os
import pathlib

import numpy as np

from ltu_jax.ask.errors import AskError
from ltu_jax.audio.decode import SUFFIXES, AudioError
from ltu_jax.audio.heard import hear


@dataclasses.dataclass(frozen=True)
class Clip:
  """A sound that can be asked about.

  Attributes:
    pcm: int16 [samples] at 16 kHz.
    seconds: Length of the whole file.
    notes: What was done with it, such as "resampled from 44100 Hz".
    warnings: What the model cannot make use of; also to be told.
  """

  pcm: np.ndarray
  seconds: float
  notes: tuple[str, ...] = ()
  warnings: tuple[str, ...] = ()


def find_sounds(folder: str) -> list[str]:
  """Every sound file of a folder and of those in it, by its name's ending.

  Returns:
    Paths that begin with `folder`, sorted.

  Raises:
    AskError: There is none, or a folder cannot be read.
  """

  def fail(error: OSError) -> None:
    raise AskError(f"{error.filename}: cannot be read: {error.strerror}")

  found = [
    os.path.join(root, name)
    for root, _, names in os.walk(folder, onerror=fail)
    for name in names
    if pathlib.PurePath(name).suffix.lower() in SUFFIXES
  ]
  if not found:
    raise AskError(
      f"{folder}: there is no sound file in this folder; names must end in "
      f"{' '.join(SUFFIXES)}"
    )
  return sorted(found)


def read_clip(
  path: str | os.PathLike | bytes,
  *,
  whole: bool = False,
  name: str | None = None,
) -> Clip:
  """Decodes a sound file.

  Args:
    path: Any file that soundfile reads, or its bytes.
    whole: Read all of it, not just what the model hears at once.
    name: What to call it; the path by default.

  Raises:
    AskError: It is missing, no sound, too long to read, or shorter than 25 ms.
  """
  try:
    sound = hear(path, name, **({"seconds": None} if whole else {}))
  except AudioError as error:
    hint = ""
    if not (isinstance(path, bytes) or os.path.exists(path)):
      hint = (
        "" if pathlib.Path(path).suffix else " (put the question in quotes)"
      )
    raise AskError(f"{error}{hint}") from error
  warnings = []
  if sound.silence_note:
    warnings.append(f"this clip is {sound.silence_note}.")
  if sound.cut and not whole:
    warnings.append(f"{sound.cut_note}; --windows hears all of it.")
  return Clip(sound.pcm, sound.seconds, sound.notes, tuple(warnings))
