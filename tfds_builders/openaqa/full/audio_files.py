"""Finds the user's sound file of each `audio_id`.

The `audio_id` of a published question is a path on its authors' disks. Users
have the same clips elsewhere, in other formats, and named a little differently,
so they are matched by base name:

1. the same name without folders and suffix (`LZq4Neh-oWU`);
2. a YouTube id with the `Y` in front that AudioSet tools put there, or without;
3. a YouTube id with the start of the clip behind it (`_000030` in VGGSound,
   `_30.000_40.000` in AudioSet tools) on one of the two sides.

Of several files with one name the one is taken whose folders agree with those
of the `audio_id` for longest, and of those that of the root named first.
"""

import collections
import dataclasses
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence

import fsspec
from etils import epath

from ltu_jax.audio.decode import SUFFIXES

_OTHER_SUFFIXES = (".aac", ".m4a", ".mkv", ".mp4", ".webm", ".wma")
"""Sounds that soundfile does not read; such files are named in the report."""

_YOUTUBE = re.compile(
  r"Y?(?P<id>[\w-]{11})(?P<segment>(_\d+(\.\d+)?){1,2})?", re.ASCII
)


class RootError(ValueError):
  """A folder of sounds that cannot be used; names it and says what to do."""


@dataclasses.dataclass(frozen=True)
class Match:
  """The file of a clip.

  Attributes:
    clip_id: Name of the clip: the file's name without suffix, with as many
      folders in front as tell it from others of that name.
    path: Where the file is.
    is_ambiguous: Whether other files fitted as well and the first was taken.
    has_start_on_one_side: Whether only one of question and file says where in
      the video the clip starts, so that it need not be the same clip.
  """

  clip_id: str
  path: str
  is_ambiguous: bool = False
  has_start_on_one_side: bool = False


class AudioFiles:
  """All sound files below some folders, by name.

  Attributes:
    num_files: Sound files that can be read.
    unread: How many files there are of kinds that cannot be read, by suffix.
    digest: SHA-256 of their paths, which tells whether files came or went.
  """

  def __init__(self, roots: Sequence[epath.PathLike]):
    """Lists the files.

    Args:
      roots: Folders, on disks or in buckets; an earlier one goes first.

    Raises:
      RootError: If one is missing, or there is no sound file in any.
    """
    self._by_stem: dict[str, list[str]] = {}
    # By stem, then folder; made for names of several files when they come up.
    self._by_folder: dict[str, dict[str, list[str]]] = {}
    self._by_youtube: dict[str, list[str]] = {}
    self.num_files = 0
    self.unread: collections.Counter[str] = collections.Counter()
    names, seen = hashlib.sha256(), set()
    for root in roots:
      for path in _walk(epath.Path(root), seen):
        if self._add(path):
          names.update(path.encode(errors="surrogateescape") + b"\0")
    self.digest = names.hexdigest()
    if not self.num_files:
      hint = ""
      if self.unread:
        hint = f" (but {_words(self.unread)}, which soundfile cannot read)"
      raise RootError(
        f"no sound file in {', '.join(map(str, roots))}{hint}; give the"
        " folders of the audio as audio_roots"
      )

  def _add(self, path: str) -> bool:
    """Enters one file by its names; returns whether it is a sound."""
    stem, suffix = _split(path)
    if suffix not in SUFFIXES:
      if suffix in _OTHER_SUFFIXES:
        self.unread[suffix] += 1
      return False
    self._by_stem.setdefault(stem, []).append(path)
    self.num_files += 1
    youtube = _YOUTUBE.fullmatch(stem)
    if youtube:
      stems = self._by_youtube.setdefault(youtube["id"], [])
      if stem not in stems:
        stems.append(stem)
    return True

  def match(self, audio_id: str) -> Match | None:
    """Returns the file of an `audio_id`, None if there is none."""
    stem, _ = _split(audio_id)
    if stem in self._by_stem:
      return self._choose(stem, audio_id)
    youtube = _YOUTUBE.fullmatch(stem)
    if not youtube:
      return None
    fitting: dict[float | None, str] = {}
    for other in self._by_youtube.get(youtube["id"], []):
      fitting.setdefault(_start(_YOUTUBE.fullmatch(other)), other)
    start = _start(youtube)
    if start in fitting:
      return self._choose(fitting[start], audio_id)
    # Two different starts are two different clips of one video.
    if not fitting or (start is not None and None not in fitting):
      return None
    other = fitting.get(None) or next(iter(fitting.values()))
    match = self._choose(other, audio_id)
    is_ambiguous = match.is_ambiguous or (start is None and len(fitting) > 1)
    return dataclasses.replace(
      match, is_ambiguous=is_ambiguous, has_start_on_one_side=True
    )

  def _choose(self, stem: str, audio_id: str) -> Match:
    """Chooses among the files of one name by the folders they share."""
    every = self._by_stem[stem]
    if len(every) == 1:
      return Match(stem, every[0])
    paths = self._folders(stem).get(_folder(audio_id))
    if paths is None:  # None shares a folder, and so all fit as well.
      return Match(self._tell_apart(stem, every[0]), every[0], True)
    wanted = _parts(audio_id)[:-1]
    shared = [_common_end(_parts(path)[:-1], wanted) for path in paths]
    best = max(shared)
    path = paths[shared.index(best)]
    is_ambiguous = shared.count(best) > 1
    return Match(self._tell_apart(stem, path), path, is_ambiguous)

  def _folders(self, stem: str) -> dict[str, list[str]]:
    """Returns the files of a name by the folder they are in."""
    if stem not in self._by_folder:
      grouped = self._by_folder[stem] = {}
      for path in self._by_stem[stem]:
        grouped.setdefault(_folder(path), []).append(path)
    return self._by_folder[stem]

  def _tell_apart(self, stem: str, path: str) -> str:
    """Returns the shortest end of a path, without suffix, no other has."""
    folders = _parts(path)[:-1]
    # Of files in one folder, as x.wav and x.flac, only the first is chosen.
    if all(_parts(other)[:-1] == folders for other in self._by_stem[stem]):
      return stem
    others = [
      _parts(other)[:-1] for other in self._folders(stem)[_folder(path)]
    ]
    shared = [_common_end(folders, one) for one in others if one != folders]
    # A folder that is not UTF-8 comes with surrogates, as in _split.
    kept = "/".join(folders[len(folders) - max(shared, default=0) - 1 :])
    return f"{kept}/{stem}".encode(errors="replace").decode()


def _walk(root: epath.Path, seen: set[str]) -> Iterator[str]:
  """Yields the paths of all files below a folder, in order of name.

  Args:
    root: The folder.
    seen: Folders that were walked before, or files of buckets; are not walked
      again, as roots may lie within each other and links lead in circles.
  """
  if not root.is_dir():
    raise RootError(f"{root}: is no folder; give another as audio_roots")
  scheme, mark, _ = os.fspath(root).partition("://")
  if mark:
    # One listing of all; a walk would ask for every folder.
    files, path = fsspec.core.url_to_fs(os.fspath(root))
    found = set(files.find(path)) - seen
    seen |= found
    yield from (f"{scheme}{mark}{name}" for name in sorted(found))
    return
  for folder, folders, names in os.walk(
    os.path.normpath(root), followlinks=True
  ):
    real = os.path.realpath(folder)
    if real in seen:
      folders.clear()
      continue
    seen.add(real)
    folders.sort()
    for name in sorted(names):
      yield os.path.join(folder, name)


def _split(path: str) -> tuple[str, str]:
  """Returns base name without suffix, and the suffix in lower case.

  Only suffixes of sounds count: `a.b_30.000` is a name. Names are normalised,
  as macOS writes accents apart.
  """
  name = _parts(path)[-1]
  stem, dot, suffix = name.rpartition(".")
  suffix = (dot + suffix).lower()
  if not stem or suffix not in (*SUFFIXES, *_OTHER_SUFFIXES):
    stem, suffix = name, ""
  if not stem.isascii():
    # A name that is not UTF-8 comes with surrogates, which no text may hold.
    stem = stem.encode("utf-8", errors="replace").decode("utf-8")
    stem = unicodedata.normalize("NFC", stem)
  return stem, suffix


def _parts(path: str) -> list[str]:
  """Returns the folders and the name of a path of either kind of slash."""
  return path.replace("\\", "/").rstrip("/").split("/")


def _start(youtube: re.Match) -> float | None:
  """Returns the start in a name, in seconds: 30 of `_000030`, `_30.0_40.0`."""
  segment = youtube["segment"]
  return float(segment.split("_")[1]) if segment else None


def _folder(path: str) -> str:
  """Returns the name of the folder that a path is in; empty if in none."""
  parts = _parts(path)
  return parts[-2] if len(parts) > 1 else ""


def _common_end(first: Sequence[str], second: Sequence[str]) -> int:
  """Returns how many of the last parts are the same."""
  count = 0
  for a, b in zip(reversed(first), reversed(second), strict=False):
    if a != b:
      break
    count += 1
  return count


def _words(counts: collections.Counter[str]) -> str:
  """Returns counts of suffixes in words."""
  return ", ".join(f"{count} {suffix}" for suffix, count in counts.items())
