"""The kinds of sources, and how one is named on the command line."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.sources import (
  audiocaps,
  audioset,
  audioset_strong,
  clotho,
  esc50,
  folder,
  freesound,
  fsd50k,
  jsonl,
  vggsound,
)
from ltu_jax.aqa.sources.listed import Listed

_FORM = re.compile(r"(?P<kind>[^:@]+)(@(?P<dataset>[^:]+))?:(?P<paths>.+)")

_LONGEST_NAME = 200
"""Of a data set, as of the builder of openaqa/full."""


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of source.

  Attributes:
    read: Its reader: files and the data set's name ("" for its own) -> clips.
    files: What to name, for people.
    most: How many files may be named.
  """

  read: Callable[[Sequence[pathlib.Path], str], Iterator[Listed]]
  files: str
  most: int = 1


KINDS: Mapping[str, Kind] = {
  "audioset": Kind(audioset.read, "*_segments.csv[,class names]", 2),
  "audioset_strong": Kind(
    audioset_strong.read, "audioset_*_strong.tsv[,class names][,captions]", 3
  ),
  "vggsound": Kind(vggsound.read, "vggsound.csv"),
  "fsd50k": Kind(fsd50k.read, "dev.csv or eval.csv"),
  "esc50": Kind(esc50.read, "esc50.csv"),
  "audiocaps": Kind(audiocaps.read, "train.csv, val.csv or test.csv"),
  "clotho": Kind(clotho.read, "clotho_captions_*.csv"),
  "freesound": Kind(freesound.read, "a JSON file of WavCaps"),
  "folder": Kind(folder.read, "a folder of CLASS/CLIP.wav"),
  "jsonl": Kind(jsonl.read, "records of our own"),
}


@dataclasses.dataclass(frozen=True)
class Source:
  """A source as it is named on the command line.

  Attributes:
    kind: A key of `KINDS`.
    paths: Its files.
    dataset: What to call it; empty for its own name.
  """

  kind: str
  paths: tuple[pathlib.Path, ...]
  dataset: str = ""

  @classmethod
  def parse(cls, text: str) -> "Source":
    """Reads KIND[@DATASET]:PATH[,PATH].

    Raises:
      AqaError: It has not this form, or a file is not there.
    """
    found = _FORM.fullmatch(text)
    if not found or found["kind"] not in KINDS:
      raise AqaError(
        f"--source={text}: it has to be KIND[@NAME]:PATH, where KIND is one of "
        f"{', '.join(KINDS)}."
      )
    paths = tuple(pathlib.Path(path) for path in found["paths"].split(","))
    kind = KINDS[found["kind"]]
    if len(paths) > kind.most:
      raise AqaError(f"--source={text}: name {kind.files}, and no more.")
    for path in paths:
      if not path.exists():
        raise AqaError(f"--source={text}: {path} is not there.")
    name = found["dataset"] or ""
    if len(name) > _LONGEST_NAME or not name.isprintable():
      raise AqaError(f"--source={text}: the name is too long, or no text.")
    return cls(found["kind"], paths, name)

  def read(self) -> Iterator[Listed]:
    """Yields its clips.

    Raises:
      AqaError: A file is of another kind.
      EvaluateError: A file is damaged; names file and line.
    """
    return KINDS[self.kind].read(self.paths, self.dataset)
