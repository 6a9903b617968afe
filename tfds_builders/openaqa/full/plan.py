"""The first pass of a build: every question read, checked and matched once.

The JSON files are streamed; what stays in memory is a table of the sound files
and of the `audio_id`s (about 1 GB at OpenAQA's full size). The questions go to
the spool. What cannot succeed is found here, within minutes: too many bad
entries, too few sounds.
"""

import collections
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import tqdm
from etils import epath

from ltu_jax.data import question_index
from tfds_builders.openaqa.full import clip_audio, entries, spool
from tfds_builders.openaqa.full.audio_files import AudioFiles, Match
from tfds_builders.openaqa.full.tally import Tally

CLIPS_PER_SHARD = 2048
"""About 300 MB of ten-second clips, and half a minute of work for a core."""

_PROGRESS_EVERY = 5000

# Of which all_closed_qa.json was joined.
_CLOSED_PARTS = ("cla", "caption", "temporal")


class PlanError(ValueError):
  """Input that must not be built from; says what is wrong and what to do."""


@dataclasses.dataclass(frozen=True)
class Input:
  """What a data set is made from.

  Attributes:
    json_files: The JSON files, in the order of reading.
    audio_roots: Folders of the user's sounds.
    keep_unanswerable: Whether answers that the published filter drops stay.
  """

  json_files: tuple[str, ...]
  audio_roots: tuple[str, ...]
  keep_unanswerable: bool

  def fingerprint(self) -> dict[str, Any]:
    """Returns what tells whether a plan still holds: names, sizes, times."""
    stats = [epath.Path(path).stat() for path in self.json_files]
    return dataclasses.asdict(self) | {
      "sizes": [[stat.length, stat.mtime] for stat in stats]
    }


@dataclasses.dataclass(frozen=True)
class Plan:
  """What came out of the first pass.

  Attributes:
    num_clips: Clips that have a sound file.
    num_questions: Questions about them.
    files: For each JSON file: name, bytes, entries, sha256.
    entries_left_out: `Tally.as_json` of `entries.LEFT_OUT`.
    entries_mended: `Tally.as_json` of `entries.MENDED`.
    clips_left_out: `Tally.as_json` of `clip_audio.LEFT_OUT`.
    clips_changed: `Tally.as_json` of `clip_audio.CHANGED`.
    sources: For each data set `clips` and `questions`, each with how many were
      `asked` for and how many `found`.
    audio: `files` that can be read, and `unread` ones by suffix.
  """

  num_clips: int
  num_questions: int
  files: list[dict[str, Any]]
  entries_left_out: dict[str, Any]
  entries_mended: dict[str, Any]
  clips_left_out: dict[str, Any]
  clips_changed: dict[str, Any]
  sources: dict[str, dict[str, dict[str, int]]]
  audio: dict[str, Any]

  @property
  def num_read(self) -> int:
    """Entries of all files."""
    return sum(file["entries"] for file in self.files)

  @property
  def num_bad(self) -> int:
    """Entries that are wrong."""
    bad = (self.entries_left_out.get(kind) for kind in entries.BAD)
    return sum(one["count"] for one in bad if one)

  def default_num_shards(self) -> int:
    """Shards of about `CLIPS_PER_SHARD` clips."""
    return max(1, -(-self.num_clips // CLIPS_PER_SHARD))


def list_sounds(source: Input) -> AudioFiles:
  """Lists the user's sound files.

  Raises:
    RootError: If a folder of sounds cannot be used.
  """
  print("OpenAQA: listing sound files ...", flush=True)
  audio = AudioFiles(source.audio_roots)
  print(f"OpenAQA: {audio.num_files} sound files", flush=True)
  return audio


def make(source: Input, audio: AudioFiles, folder: epath.Path) -> Plan:
  """Reads all questions, and writes those with a sound to a spool.

  Args:
    source: What to read.
    audio: From `list_sounds`.
    folder: Of the spool; must be empty or not there.

  Returns:
    The plan.

  Raises:
    JsonError: If a JSON file cannot be read to its end.
    PlanError: If the question index could not hold what was read.
  """
  reading = _Reading(audio, spool.Writer(folder))
  for path in source.json_files:
    for entry in _with_progress(reading.open(path, source.keep_unanswerable)):
      reading.add(entry)
    reading.close()
  return reading.plan()


def _with_progress(reader: entries.EntryReader) -> Iterator[entries.Entry]:
  """Yields the entries of a file under a bar of its bytes."""
  with tqdm.tqdm(
    total=reader.num_bytes,
    unit="B",
    unit_scale=True,
    desc=f"OpenAQA: reading {reader.name}",
    mininterval=1,
  ) as bar:
    for number, entry in enumerate(reader):
      if number % _PROGRESS_EVERY == 0:
        bar.update(reader.position - bar.n)
      yield entry
    bar.update(reader.position - bar.n)


class _Reading:
  """State of the first pass."""

  def __init__(self, audio: AudioFiles, writer: spool.Writer):
    self._audio = audio
    self._writer = writer
    self._left_out = Tally(entries.LEFT_OUT)
    self._mended = Tally(entries.MENDED)
    self._clips_left_out = Tally(clip_audio.LEFT_OUT)
    self._clips_changed = Tally(clip_audio.CHANGED)
    self._matches: dict[str, Match | None] = {}
    self._asked: dict[str, set[str]] = collections.defaultdict(set)
    self._questions: dict[str, collections.Counter[str]] = {
      "asked": collections.Counter(),
      "found": collections.Counter(),
    }
    self._per_clip: collections.Counter[str] = collections.Counter()
    self._tasks: set[str] = set()
    self._number = 0
    self._files: list[dict[str, Any]] = []
    self._reader: entries.EntryReader | None = None

  def open(self, path: str, keep_unanswerable: bool) -> entries.EntryReader:
    """Begins with a file."""
    self._reader = entries.EntryReader(
      path,
      self._left_out,
      self._mended,
      keep_unanswerable=keep_unanswerable,
    )
    return self._reader

  def close(self) -> None:
    """Notes what the file was."""
    reader = self._reader
    self._files.append(
      {
        "name": reader.name,
        "bytes": reader.num_bytes,
        "entries": reader.num_read,
        "sha256": reader.sha256,
      }
    )

  def add(self, entry: entries.Entry) -> None:
    """Matches a question with its clip and writes it, if there is one."""
    self._asked[entry.dataset].add(entry.audio_id)
    self._questions["asked"][entry.dataset] += 1
    match = self._match(entry.audio_id)
    if match is None:
      return
    row = spool.Row(self._number, match.clip_id, match.path, entry)
    self._writer.add(row)
    self._number += 1
    self._per_clip[match.clip_id] += 1
    self._tasks.add(entry.task)
    self._questions["found"][entry.dataset] += 1

  def _match(self, audio_id: str) -> Match | None:
    """Returns the file of an id, and counts when it comes up first."""
    if audio_id not in self._matches:
      match = self._audio.match(audio_id)
      self._matches[audio_id] = match
      if match is None:
        self._clips_left_out.add("missing", audio_id)
        return None
      example = f"{audio_id}: {match.path}"
      if match.is_ambiguous:
        self._clips_changed.add("ambiguous", example)
      if match.has_start_on_one_side:
        self._clips_changed.add("start_unchecked", example)
    return self._matches[audio_id]

  def plan(self) -> Plan:
    """Ends the pass.

    Raises:
      PlanError: If the question index could not hold what was read.
    """
    self._writer.flush()
    self._check_index()
    sources = {
      dataset: {
        "clips": {
          "asked": len(ids),
          "found": sum(self._matches[i] is not None for i in ids),
        },
        "questions": {k: v[dataset] for k, v in self._questions.items()},
      }
      for dataset, ids in sorted(self._asked.items())
    }
    return Plan(
      num_clips=len(self._per_clip),
      num_questions=self._number,
      files=self._files,
      entries_left_out=self._left_out.as_json(),
      entries_mended=self._mended.as_json(),
      clips_left_out=self._clips_left_out.as_json(),
      clips_changed=self._clips_changed.as_json(),
      sources=sources,
      audio={
        "files": self._audio.num_files,
        "unread": dict(self._audio.unread),
      },
    )

  def _check_index(self) -> None:
    """Raises PlanError for what the question index has no room for."""
    for kind, names in (("tasks", self._tasks), ("data sets", self._asked)):
      if len(names) > question_index.MAX_NAMES:
        raise PlanError(
          f"there are {len(names)} {kind}, as {', '.join(sorted(names)[:3])};"
          f" at most {question_index.MAX_NAMES} can be told apart"
        )
    for clip_id, count in self._per_clip.most_common(1):
      if count > question_index.MAX_QUESTIONS:
        raise PlanError(
          f"{count} questions are about the clip {clip_id}, at most"
          f" {question_index.MAX_QUESTIONS} can be; do all audio_ids have the"
          " same base name?"
        )


def json_files(patterns: Sequence[str], folder: epath.Path) -> tuple[str, ...]:
  """Returns the JSON files to read.

  Args:
    patterns: Globs, within `folder` or absolute; empty for the published files
      that are there. Of those, files that hold each other's questions are not
      taken together.
    folder: The folder of what the user downloaded.

  Raises:
    PlanError: If a pattern fits no file, or no published file is there.
  """
  if patterns:
    found = []
    for pattern in patterns:
      matched = sorted(os.fspath(path) for path in _glob(pattern, folder))
      if not matched:
        raise PlanError(f"json_files: {pattern} fits no file in {folder}")
      found += [path for path in matched if path not in found]
    return tuple(found)
  paths = _published(folder)
  if paths:
    return tuple(os.fspath(path) for path in paths)
  there = ", ".join(sorted(path.name for path in folder.glob("*.json")))
  raise PlanError(
    f"{folder}: there is no openaqa_5.6M.json and no other published file"
    f" ({there or 'no .json at all'}); name yours with json_files"
  )


def _published(folder: epath.Path) -> list[epath.Path]:
  """Returns published files that do not hold each other's questions."""

  def there(*names: str) -> list[epath.Path]:
    return [folder / name for name in names if (folder / name).exists()]

  closed_parts = (f"combine_{kind}.json" for kind in _CLOSED_PARTS)
  closed = there("all_closed_qa.json") or there(*closed_parts)
  return there("openaqa_5.6M.json") or closed + there("all_open_qa.json")


def _glob(pattern: str, folder: epath.Path) -> Iterator[epath.Path]:
  """Yields the files that a pattern fits; one that is a name is that file."""
  path = folder / epath.Path(pattern).expanduser()
  if "**" in pattern:
    raise PlanError(
      f"json_files: {pattern}: ** is not understood; give folders"
    )
  found = [path] if path.exists() else path.parent.glob(path.name)
  yield from (one for one in found if not one.is_dir())
