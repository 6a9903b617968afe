"""The recordings that scenes are made of, from packages or from a folder.

A recording is what the split into train and test goes by. It has one or more
takes: a drum that was recorded at five loudnesses is one recording with five
takes, and so are edits of one original.

`sounds.tsv` is the source of truth for the packages: which file is which
recording of which class, in which split, with the SHA-256 of its bytes.

Shapes: N samples in time.
"""

import collections
import csv
import dataclasses
import hashlib
import os
import pathlib
import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ltu_jax.aqa import records
from ltu_jax.audio import decode
from tfds_builders.openaqa import acoustics

_HERE = pathlib.Path(__file__).parent

SOUNDS_TABLE = _HERE / "sounds.tsv"
"""Columns package, path, label, recording, split, sha256. A path with `#7` is
the sound with index 7 in an OpenTTD sound file."""

CLASSES_TABLE = _HERE / "classes.tsv"
"""What is known of each class; columns as `records.SoundFacts`."""

_FEWEST_RECORDINGS = 3
"""A class needs two recordings to learn from and one to be tested on."""


class SoundsError(ValueError):
  """Sounds that cannot be used; the message names them and says why."""


@dataclasses.dataclass(frozen=True)
class Recording:
  """One recording of a sound.

  Attributes:
    label: Class of the sound.
    name: Name of the recording, unique within its class.
    split: `train` or `test`.
    takes: int16 [N] each, 16 kHz: its variants, at least one.
  """

  label: str
  name: str
  split: str
  takes: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Bank:
  """All recordings, and what is known of their classes.

  Attributes:
    recordings: In order of class and name.
    features: Acoustic feature of each class by label.
    facts: What is known of classes by label; may lack some.
  """

  recordings: tuple[Recording, ...]
  features: Mapping[str, str]
  facts: Mapping[str, records.SoundFacts]

  def by_label(self, split: str) -> dict[str, list[Recording]]:
    """Returns the recordings of a split by class, in order of label."""
    groups = collections.defaultdict(list)
    for recording in self.recordings:
      if recording.split == split:
        groups[recording.label].append(recording)
    return {label: groups[label] for label in sorted(groups)}


def from_packages(roots: Mapping[str, pathlib.Path]) -> Bank:
  """Reads the recordings of `sounds.tsv`.

  Args:
    roots: Where each package is unpacked, from `fetch.fetch`.

  Returns:
    The recordings; every class has facts.

  Raises:
    SoundsError: If a file is missing or is not the one of the table.
  """
  with open(SOUNDS_TABLE, encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file, delimiter="\t"))
  takes = collections.defaultdict(list)
  for row in rows:
    data = _read(roots[row["package"]], row["path"])
    name = f"{row['package']}: {row['path']}"
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
      raise SoundsError(
        f"{name}: is not the sound that sounds.tsv lists (its SHA-256"
        " differs). Another release of the package? Take Debian 12's, or give"
        " your own sounds with sounds_dir=DIR (DIR/CLASS/CLIP.wav)"
      )
    key = row["label"], row["recording"], row["split"]
    takes[key].append(decode.decode(data, name))
  facts = records.read_facts(CLASSES_TABLE)
  features = {label: known.feature for label, known in facts.items()}
  return Bank(_recordings(takes), features, facts)


def _read(root: pathlib.Path, path: str) -> bytes:
  """Returns the bytes of a file, or of one sound in an OpenTTD sound file."""
  path, _, index = path.partition("#")
  try:
    data = (root / path).read_bytes()
  except FileNotFoundError as e:
    raise SoundsError(
      f"{root / path}: is missing; remove {root} to have it fetched again"
    ) from e
  return cat_entry(data, int(index)) if index else data


def cat_entry(data: bytes, index: int) -> bytes:
  """Takes one WAV out of an OpenTTD sound file.

  The file starts with little-endian pairs of 32-bit offset and length; the
  first offset is the size of that list, and the top bit is a flag. At the
  offset stand a name (its length in one byte) and the RIFF data.

  Args:
    data: The whole file.
    index: Which entry.

  Returns:
    The bytes of the WAV.
  """
  (offset,) = struct.unpack_from("<I", data, 8 * index)
  offset &= 0x7FFFFFFF
  start = offset + 1 + data[offset]
  (size,) = struct.unpack_from("<I", data, start + 4)
  return data[start : start + 8 + size]


def from_folder(folder: str | os.PathLike) -> Bank:
  """Reads recordings from `folder/CLASS/CLIP.wav`; every clip is one.

  `CLASS` is the label, with spaces for underscores. A third of each class, by
  hash of the file names, is for testing. Known labels take their facts and
  acoustic feature from `classes.tsv`; the feature of others is measured.

  Args:
    folder: The folder; files in any format that soundfile reads.

  Returns:
    The recordings.

  Raises:
    SoundsError: If the folder is missing, or has less than two classes, or
      a class less than three clips, or a clip is silent or the same as another.
    AudioError: If a file cannot be decoded; names it.
  """
  folder = pathlib.Path(folder)
  if not folder.is_dir():
    raise SoundsError(f"sounds_dir {folder}: is not a folder")
  classes = sorted(p for p in folder.iterdir() if p.is_dir())
  if len(classes) < 2:
    raise SoundsError(
      f"sounds_dir {folder}: has {len(classes)} class folders, needs at least 2"
      " (sounds_dir/CLASS/CLIP.wav)"
    )
  takes, seen = {}, {}
  for path in classes:
    clips = sorted(
      p for p in path.iterdir() if p.suffix.lower() in decode.SUFFIXES
    )
    if len(clips) < _FEWEST_RECORDINGS:
      raise SoundsError(
        f"{path}: has {len(clips)} sounds, and a class needs at least"
        f" {_FEWEST_RECORDINGS}: two to learn from and one to be tested on"
      )
    label = path.name.replace("_", " ").strip()
    label = label[0].upper() + label[1:]
    tested = _tested(clip.name for clip in clips)
    for clip in clips:
      pcm = decode.decode(clip)
      if not pcm.any():
        raise SoundsError(f"{clip}: is silent; remove it")
      same = seen.setdefault(pcm.tobytes(), clip)
      if same != clip:
        raise SoundsError(f"{clip}: is the same sound as {same}; remove one")
      split = "test" if clip.name in tested else "train"
      takes[label, clip.name, split] = [pcm]
  recordings = _recordings(takes)
  facts = records.read_facts(CLASSES_TABLE)
  return Bank(recordings, _features(recordings, facts), facts)


def _tested(names: Iterable[str]) -> set[str]:
  """Chooses a third of the names, by their hash and so for good."""
  names = sorted(names, key=lambda n: hashlib.sha256(n.encode()).hexdigest())
  return set(names[: max(1, round(len(names) / 3))])


def _features(
  recordings: Sequence[Recording], facts: Mapping[str, records.SoundFacts]
) -> dict[str, str]:
  """Returns each class's feature: the known one, or one that is measured."""
  takes = collections.defaultdict(list)
  for recording in recordings:
    if recording.split == "train":
      takes[recording.label] += recording.takes
  return {
    label: facts[label].feature if label in facts else acoustics.describe(pcm)
    for label, pcm in takes.items()
  }


def _recordings(takes: Mapping[tuple, list]) -> tuple[Recording, ...]:
  """Makes recordings of takes by (label, name, split), in that order."""
  return tuple(Recording(*key, tuple(takes[key])) for key in sorted(takes))
