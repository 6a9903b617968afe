"""From sources to closed-ended questions: streamed, in several processes.

Clips are read and their sounds looked for in one process; questions are made in
others, and written in the order of the clips, whoever made them. What is in
memory at once are a few hundred clips a process, and the names of the sound
files.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence

from ltu_jax.aqa import closed_ended, features, record_lines
from ltu_jax.aqa.closed_ended import Manner
from ltu_jax.aqa.composition import Composition
from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.features import Features
from ltu_jax.aqa.output import Output
from ltu_jax.aqa.paraphrases import Ways
from ltu_jax.aqa.recipe import Recipe
from ltu_jax.aqa.records import ClipRecord, published_entry
from ltu_jax.aqa.sources.catalog import Source
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets.audio_files import AudioFiles

CHUNK = 256
"""Clips that a process is handed at once."""

_CHUNKS_AHEAD = 3
"""Chunks that may wait for each process."""


@dataclasses.dataclass(frozen=True)
class Job:
  """What decides the questions about a record.

  Attributes:
    recipe: How often, and in what manner.
    ways: Ways to ask.
    features: Acoustic features of labels.
    seed: Of every choice.
  """

  recipe: Recipe
  ways: Ways
  features: Features
  seed: int = 0

  def manner(self, dataset: str) -> Manner:
    """How the clips of a data set are asked about."""
    part = self.recipe.part(dataset)
    return Manner(
      self.ways, self.seed, self.recipe.closed_prefix, part.style, part.tasks
    )


@dataclasses.dataclass(frozen=True)
class Made:
  """What a chunk of clips became.

  Attributes:
    entries: Entries of the published format, with commas between them.
    records: Lines of records.
    composition: Counts of both.
  """

  entries: bytes
  records: bytes
  composition: Composition


def make(job: Job, chunk: Sequence[tuple[ClipRecord, int]]) -> Made:
  """Makes the questions about some clips.

  Args:
    job: How.
    chunk: Records, and how often each is asked about.
  """
  entries, lines, counted = [], [], Composition()
  for clip, copies in chunk:
    clip = features.apply(clip, job.features, job.seed)
    for event in clip.events:
      if not event.feature:
        counted.unfeatured[event.label] += 1
    lines.append(record_lines.write(clip) + "\n")
    manner = job.manner(clip.dataset)
    asked = 0
    for copy in range(copies):
      questions = closed_ended.make(clip, manner, copy)
      counted.add_questions(clip, questions, closed_ended.PREFIX)
      entries += [json.dumps(published_entry(clip, q)) for q in questions]
      asked += bool(questions)
    if asked:
      counted.add_clip(clip.dataset, "asked")
      counted.clips[clip.dataset]["copies"] += asked
    else:
      counted.add_clip(clip.dataset, "nothing_asked")
  return Made(",\n".join(entries).encode(), "".join(lines).encode(), counted)


class Finder:
  """Chooses the clips that are asked about, and finds their sounds."""

  def __init__(
    self, job: Job, files: AudioFiles | None, output: Output, keep: bool
  ):
    """Notes where to look.

    Args:
      job: How clips are made.
      files: The sounds; None to take the names that the tables have.
      output: Takes the names of what is missing.
      keep: Whether clips without a sound are asked about all the same.
    """
    self._job, self._files, self._keep = job, files, keep
    self._output = output
    self.counted = Composition()

  def choose(self, clips: Iterable[Listed]) -> Iterator[tuple[ClipRecord, int]]:
    """Yields records with the path of their sound, and how often to ask."""
    for clip in clips:
      record, dataset = clip.record, clip.record.dataset
      part = self._job.recipe.part(dataset)
      self.counted.add_clip(dataset, "listed")
      if clip.seconds is not None and clip.seconds > part.max_seconds:
        self.counted.add_clip(dataset, "too_long")
        continue
      copies = part.copies(record.id, self._job.seed)
      if not copies:
        self.counted.add_clip(dataset, "not_drawn")
        continue
      if self._files is not None:
        path = self._files.find(clip.names, in_place=clip.in_place)
        if path is None:
          self.counted.add_clip(dataset, "missing")
          self._output.add_missing(dataset, record.id, clip.names[0])
          if not self._keep:
            continue
        else:
          audio = path.relative_to(self._files.folder).as_posix()
          record = dataclasses.replace(record, audio=audio)
      yield record, copies


def listed(sources: Sequence[Source], limit: int | None) -> Iterator[Listed]:
  """Yields the clips of all sources, of each `limit` at most."""
  for source in sources:
    yield from itertools.islice(source.read(), limit)


def run(
  job: Job,
  clips: Iterable[tuple[ClipRecord, int]],
  processes: int,
  write: Callable[[Made], None],
) -> None:
  """Makes the questions about all clips.

  Args:
    job: How.
    clips: Records, and how often each is asked about.
    processes: How many make them; 1 is this one.
    write: Takes what came out, in the order of the clips.

  Raises:
    AqaError: A process was killed.
  """
  chunks = _chunks(clips)
  if processes == 1:
    for chunk in chunks:
      write(make(job, chunk))
    return
  waiting: collections.deque[concurrent.futures.Future] = collections.deque()
  pool = concurrent.futures.ProcessPoolExecutor(
    processes,
    # Not by fork: who calls this may have threads.
    multiprocessing.get_context("spawn"),
    _start,
    (job,),
  )
  with pool:
    try:
      for chunk in chunks:
        if len(waiting) >= _CHUNKS_AHEAD * processes:
          write(waiting.popleft().result())
        waiting.append(pool.submit(_make_here, chunk))
      while waiting:
        write(waiting.popleft().result())
    except concurrent.futures.process.BrokenProcessPool as error:
      raise AqaError(
        "a process that makes questions was killed (out of memory?); try a "
        "smaller --processes."
      ) from error
    finally:
      for future in waiting:
        future.cancel()


def cores() -> int:
  """Cores that this process may use."""
  return len(os.sched_getaffinity(0))


def _chunks(
  clips: Iterable[tuple[ClipRecord, int]],
) -> Iterator[list[tuple[ClipRecord, int]]]:
  """Yields clips, `CHUNK` at a time."""
  clips = iter(clips)
  while chunk := list(itertools.islice(clips, CHUNK)):
    yield chunk


_job: Job | None = None
"""Of a process that makes questions."""


def _start(job: Job) -> None:
  """Begins a process."""
  global _job
  _job = job
  # Ctrl-C reaches all processes of a terminal; the first one ends the others.
  signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_here(chunk: Sequence[tuple[ClipRecord, int]]) -> Made:
  """Makes a chunk by the job of this process."""
  return make(_job, chunk)
