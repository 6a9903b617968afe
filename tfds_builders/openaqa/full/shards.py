"""Makes one shard of the data set: the unit of work of a build.

A shard is made from the parts of the spool that hold its clips, by whichever
process or Beam worker gets it, and always to the same bytes. When it is done
its report is written; a build that is started again skips shards that have one.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from ltu_jax.audio.decode import AudioError
from ltu_jax.data import question_texts
from ltu_jax.data.question_index import QuestionIndex
from tfds_builders.openaqa.full import clip_audio, spool
from tfds_builders.openaqa.full.tally import Tally

# Clips that are asked of a bucket at once: an answer takes some 50 ms, and
# decoding a clip 2 to 10. Files of a disk are read one by one.
_AT_ONCE = 32


@dataclasses.dataclass(frozen=True)
class Job:
  """What all shards of a build have in common.

  Attributes:
    folder: Where the build works: `spool/` and what the shards give.
    num_shards: Into how many shards the clips are cut.
    decoder: `soundfile` or `tfio`.
    drop_duplicates: Whether a question that a clip has already is left out.
  """

  folder: str
  num_shards: int
  decoder: str
  drop_duplicates: bool

  @property
  def spool(self) -> epath.Path:
    """The folder of the questions, by clip."""
    return epath.Path(self.folder) / "spool"

  def records(self, shard: int) -> epath.Path:
    """The ArrayRecord file of a shard."""
    return epath.Path(self.folder) / f"shard-{shard:05d}.array_record"

  def index(self, shard: int) -> epath.Path:
    """The question index of a shard."""
    return epath.Path(self.folder) / f"shard-{shard:05d}.npz"

  def texts(self, shard: int) -> epath.Path:
    """The texts of a shard's questions."""
    return epath.Path(self.folder) / f"shard-{shard:05d}.jsonl.gz"

  def report(self, shard: int) -> epath.Path:
    """What came out of a shard; it is written last."""
    return epath.Path(self.folder) / f"shard-{shard:05d}.json"

  def is_done(self, shard: int) -> bool:
    """Whether a shard was made before, with its texts.

    Builders before there were such files made none.
    """
    return self.report(shard).exists() and self.texts(shard).exists()


def build(job: Job, shard: int) -> None:
  """Makes a shard, unless it is there.

  Args:
    job: The build.
    shard: Which shard.

  Raises:
    OSError: If the folder cannot be written.
  """
  if job.is_done(shard):
    return
  work = _Shard(job, shard)
  with tempfile.TemporaryDirectory(dir=_local_folder(job.folder)) as scratch:
    # ArrayRecord writes to disks alone; a bucket gets the finished file.
    file = epath.Path(scratch) / "records"
    _write(file, work.examples())
    report = work.report() | {
      "bytes": file.stat().length,
      "sha256": _sha256(file),
    }
    _move(file, job.records(shard))
  QuestionIndex.make(work.questions).save(job.index(shard))
  question_texts.save(job.texts(shard), work.texts)
  write_whole(job.report(shard), json.dumps(report))


class _Shard:
  """Makes the records of a shard, and counts.

  Attributes:
    questions: (task, data set) of each question of each record.
    texts: [instruction, input, output] of the same.
  """

  def __init__(self, job: Job, shard: int):
    self._job = job
    self._clips = spool.read_shard(job.spool, shard, job.num_shards)
    self._read = clip_audio.reader(job.decoder)
    self._left_out = Tally(clip_audio.LEFT_OUT)
    self._changed = Tally(clip_audio.CHANGED)
    self._duplicates = Tally(DUPLICATES)
    self._used: dict[str, collections.Counter[str]] = {
      "clips": collections.Counter(),
      "questions": collections.Counter(),
      "tasks": collections.Counter(),
    }
    self.questions: list[list[tuple[str, str]]] = []
    self.texts: list[list[tuple[str, str, str]]] = []

  def examples(self) -> Iterator[dict[str, Any]]:
    """Yields the records in order."""
    for rows, loaded in self._loaded():
      if isinstance(loaded, AudioError):
        self._left_out.add(loaded.kind, str(loaded))
        continue
      first, (audio, changes) = rows[0], loaded
      for kind in changes:
        self._changed.add(kind, f"{first.clip_id} ({first.path})")
      entries = self._distinct(rows)
      kinds = [(entry.task, entry.dataset) for entry in entries]
      self.questions.append(kinds)
      self.texts.append([(e.instruction, e.input, e.output) for e in entries])
      self._used["clips"].update({dataset for _, dataset in kinds})
      self._used["questions"].update(dataset for _, dataset in kinds)
      self._used["tasks"].update(task for task, _ in kinds)
      fields = ("instruction", "input", "output", "task", "dataset")
      yield {
        "id": first.clip_id,
        "audio": audio,
        "questions": {
          field: [getattr(entry, field) for entry in entries]
          for field in fields
        },
      }

  def _loaded(
    self,
  ) -> Iterator[tuple[list[spool.Row], tuple[bytes, list[str]] | AudioError]]:
    """Yields clips in order with their audio, or why it cannot be used."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
      while clips := list(itertools.islice(self._clips, _AT_ONCE)):
        is_far = "://" in clips[0][0].path
        audio = (pool.map if is_far else map)(self._load, clips)
        yield from zip(clips, audio, strict=True)

  def _load(
    self, rows: list[spool.Row]
  ) -> tuple[bytes, list[str]] | AudioError:
    """Loads the sound of a clip."""
    try:
      return clip_audio.load(rows[0].path, rows[0].clip_id, self._read)
    except AudioError as error:
      return error

  def _distinct(self, rows: list[spool.Row]) -> list:
    """Counts questions that a clip has twice; leaves them out if asked to."""
    seen, entries = set(), []
    for row in rows:
      # The same sound may have several ids.
      key = row.entry._replace(audio_id="")
      if key in seen:
        kind = "dropped" if self._job.drop_duplicates else "kept"
        self._duplicates.add(kind, f"{row.clip_id}: {row.entry.instruction}")
        if self._job.drop_duplicates:
          continue
      seen.add(key)
      entries.append(row.entry)
    return entries

  def report(self) -> dict[str, Any]:
    """Returns the counts, once the records were made."""
    return {
      "records": len(self.questions),
      "left_out": self._left_out.as_json(),
      "changed": self._changed.as_json(),
      "duplicates": self._duplicates.as_json(),
      "used": {name: dict(counter) for name, counter in self._used.items()},
    }


DUPLICATES = {
  "kept": "used again: the published files repeat small sources on purpose",
  "dropped": "left out, as asked for: the clip has this question already",
}
"""What is done with a question that a clip has twice."""


def _write(path: epath.Path, examples: Iterator[Mapping[str, Any]]) -> None:
  """Writes records with TFDS's own writer, the same bytes for the same."""
  # Here, as it needs TensorFlow.
  from tfds_builders.openaqa import features

  feature = features.full()
  serializer = tfds.core.example_serializer.ExampleSerializer(
    feature.get_serialized_info()
  )

  def serialized() -> Iterator[tuple[int, bytes]]:
    for number, example in enumerate(examples):
      proto = serializer.get_tf_example(feature.encode_example(example))
      # The order of a map's fields is otherwise another in each process.
      yield number, proto.SerializeToString(deterministic=True)

  writer = tfds.core.writer.ExampleWriter(
    file_format=tfds.core.FileFormat.ARRAY_RECORD
  )
  writer.write(path, serialized())


def write_whole(path: epath.Path, text: str) -> None:
  """Writes a text file that is never seen in part."""
  if "://" in os.fspath(path):
    # A bucket shows an object when it is complete.
    path.write_text(text)
    return
  # Two workers may make the same: Beam tries slow ones again.
  unfinished = path.with_suffix(f".{os.getpid()}.tmp")
  unfinished.write_text(text)
  unfinished.replace(path)


def _local_folder(folder: str) -> str | None:
  """A folder on the same disk, so that files are moved and not copied."""
  return None if "://" in folder else folder


def _move(source: epath.Path, target: epath.Path) -> None:
  """Moves a finished file; what has the target's name is whole."""
  if "://" in os.fspath(target):
    source.copy(target, overwrite=True)
  else:
    source.replace(target)


def _sha256(path: epath.Path) -> str:
  """Returns the SHA-256 of a file."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
