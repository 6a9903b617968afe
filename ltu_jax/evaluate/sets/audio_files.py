"""Sound files of a set: found by name, wherever they lie in its folder."""

import os
import pathlib
import unicodedata
from collections.abc import Iterable

from ltu_jax.audio.decode import SUFFIXES
from ltu_jax.evaluate.errors import EvaluateError


class AudioFiles:
  """The sound files of a folder and of those in it.

  Names are compared in Unicode's composed form: some systems unpack archives
  with decomposed ones.
  """

  def __init__(self, folder: pathlib.Path):
    """Looks through the folder once; one that is not there has no files.

    Raises:
      EvaluateError: A folder cannot be read.
    """
    self.folder = folder
    # Texts and not paths, below the folder, a list only for several of a name:
    # two million files take 0.5 GB.
    self._by_stem: dict[str, str | list[str]] = {}
    for path in _walk(folder):
      self._add(stem(_composed(path.name)), os.fspath(path.relative_to(folder)))

  def _add(self, name: str, path: str) -> None:
    """Enters a file."""
    others = self._by_stem.setdefault(name, path)
    if isinstance(others, list):
      others.append(path)
    elif others is not path:
      self._by_stem[name] = [others, path]

  def __len__(self) -> int:
    """How many files there are."""
    return sum(
      1 if isinstance(p, str) else len(p) for p in self._by_stem.values()
    )

  def _named(self, name: str) -> list[pathlib.Path]:
    """The files that have a name, whatever their ending."""
    paths = self._by_stem.get(name, [])
    paths = [paths] if isinstance(paths, str) else paths
    return [self.folder / path for path in paths]

  def paths(self) -> list[pathlib.Path]:
    """All of them, sorted."""
    return sorted(p for name in self._by_stem for p in self._named(name))

  def find(
    self, names: Iterable[str], *, in_place: bool = False
  ) -> pathlib.Path | None:
    """The file that has one of these names.

    Args:
      names: In order of preference, with folders if the metadata has them. A
        file with another ending (.flac for .wav) is taken if there is none of
        the very name.
      in_place: Take only a file that lies in these folders. Else they only
        decide between files of the same name.

    Returns:
      None if there is none.

    Raises:
      EvaluateError: Several files have the name, and none lies nearer to where
        the metadata has it.
    """
    names = [_composed(name) for name in names]
    there = {}
    for name in names:
      parts = _parts(name)
      if paths := self._named(stem(name)):
        there[parts] = paths
        same = [path for path in paths if _composed(path.name) == parts[-1]]
        if found := _nearest(same, parts, in_place):
          return found
    for parts, paths in there.items():
      if found := _nearest(paths, parts, in_place):
        return found
    return None


def stem(name: str) -> str:
  """A file's name without folders and without the ending of a sound file.

  What else follows a dot stays: "Yabc_30.000_40.000.wav" has two more.
  """
  *_, name = _parts(name) or ("",)
  dot = name.rfind(".")
  return name[:dot] if dot > 0 and name[dot:].lower() in SUFFIXES else name


def _parts(name: str) -> tuple[str, ...]:
  """The folders and the name of what a table has."""
  # By hand: pathlib takes ten times as long, and a clip of YouTube's may have
  # sixteen names.
  return tuple(part for part in name.split("/") if part not in ("", "."))


def _nearest(
  paths: Iterable[pathlib.Path], parts: tuple[str, ...], in_place: bool
) -> pathlib.Path | None:
  """The path that shares most of its last folders with what was asked for."""
  folders = parts[-2::-1] if len(parts) > 1 else ()
  best: list[pathlib.Path] = []
  most = len(folders) if in_place else 0
  for path in paths:
    shared = 0
    for wanted, has in zip(folders, path.parts[-2::-1], strict=False):
      if wanted != _composed(has):
        break
      shared += 1
    if shared > most:
      best, most = [], shared
    if shared == most:
      best.append(path)
  if len(best) > 1:
    both = " and ".join(str(path) for path in sorted(best)[:2])
    raise EvaluateError(
      f"{both} could both be {'/'.join(parts)}; leave one of them there."
    )
  return best[0] if best else None


def _walk(folder: pathlib.Path) -> Iterable[pathlib.Path]:
  """Sound files below a folder, also through links to folders.

  Each folder is looked through once, so that links in a circle end.
  """

  def fail(error: OSError) -> None:
    raise EvaluateError(f"{error.filename}: cannot be read: {error.strerror}.")

  if not folder.exists():
    return
  seen = set()
  for root, folders, names in os.walk(folder, onerror=fail, followlinks=True):
    place = os.path.realpath(root)
    if place in seen:
      folders.clear()
      continue
    seen.add(place)
    folders.sort()
    for name in names:
      # macOS puts a file ._NAME beside each NAME of an archive.
      if not name.startswith(".") and name.lower().endswith(SUFFIXES):
        yield pathlib.Path(root, name)


def _composed(name: str) -> str:
  """A name in Unicode's composed form."""
  return name if name.isascii() else unicodedata.normalize("NFC", name)
