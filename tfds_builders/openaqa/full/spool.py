"""Questions on disk, sorted roughly by clip, between the two passes of a build.

The questions of a clip lie all over the JSON files. The first pass writes each
to one of 256 parts by the hash of its clip's name; the second pass makes a
shard of the data set from the parts that hold its clips, which fit into memory.
Shards are ranges of the same hash, so which clip is in which shard, and in
which place, depends on the names of the clips alone.

Parts are written in pieces, as files in a bucket cannot be added to.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator

from etils import epath

from tfds_builders.openaqa.full.entries import Entry

_PARTS = 256
_BITS = 64

# Bytes that wait in memory before they are written, over all parts.
_BUFFER = 128 << 20


@dataclasses.dataclass(frozen=True)
class Row:
  """A question and the file of its clip.

  Attributes:
    number: Place among all questions, by which those of a clip are sorted.
    clip_id: Name of the clip.
    path: Where its sound is.
    entry: The question.
  """

  number: int
  clip_id: str
  path: str
  entry: Entry

  @property
  def place(self) -> int:
    """The hash by which clips are sorted: 64 bits."""
    return place(self.clip_id)


def place(clip_id: str) -> int:
  """Returns a clip's place among all: 64 bits of a hash of its name."""
  digest = hashlib.blake2b(clip_id.encode("utf-8"), digest_size=_BITS // 8)
  return int.from_bytes(digest.digest(), "big")


class Writer:
  """Writes questions to the parts of a folder."""

  def __init__(self, folder: epath.Path):
    """Makes the folder.

    Args:
      folder: Where to; must be empty or not there.
    """
    self._folder = folder
    folder.mkdir(parents=True, exist_ok=True)
    self._waiting: list[list[str]] = [[] for _ in range(_PARTS)]
    self._size = self._pieces = 0

  def add(self, row: Row) -> None:
    """Adds one question."""
    line = json.dumps([row.number, row.clip_id, row.path, *row.entry])
    self._waiting[row.place * _PARTS >> _BITS].append(line)
    self._size += len(line)
    if self._size > _BUFFER:
      self.flush()

  def flush(self) -> None:
    """Writes what waits; to be called at the end too."""
    for part, lines in enumerate(self._waiting):
      if lines:
        path = self._folder / f"{part:03d}-{self._pieces:04d}.jsonl"
        path.write_text("\n".join(lines))
        lines.clear()
    self._pieces += 1
    self._size = 0


def read_shard(
  folder: epath.Path, shard: int, num_shards: int
) -> Iterator[list[Row]]:
  """Yields the clips of a shard in order, each as the list of its questions.

  Args:
    folder: What a `Writer` wrote.
    shard: Which shard.
    num_shards: Into how many the data set is cut.
  """
  clips: dict[tuple[int, str], list[Row]] = {}
  first = shard * _PARTS // num_shards
  last = ((shard + 1) * _PARTS - 1) // num_shards
  for part in range(first, last + 1):
    for path in sorted(folder.glob(f"{part:03d}-*.jsonl")):
      for line in path.read_text().split("\n"):
        number, clip_id, file, *entry = json.loads(line)
        row = Row(number, clip_id, file, Entry(*entry))
        if row.place * num_shards >> _BITS == shard:
          clips.setdefault((row.place, clip_id), []).append(row)
  for key in sorted(clips):
    yield sorted(clips[key], key=lambda row: row.number)
