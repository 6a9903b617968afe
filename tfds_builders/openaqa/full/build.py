"""Builds `openaqa/full`: plan, shards, assembly; goes on where it stopped.

Everything is made in a folder beside the data set (`1.0.0.unfinished`): the
plan, the spool, and the shards as they get done. It stays when a build ends
early, and the next one takes what is there. Shards are made by processes of
this machine or by the workers of an Apache Beam runner; both run
`shards.build`, so the data set is the same.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
import tqdm
from etils import epath

from ltu_jax.data import question_index, question_texts
from ltu_jax.data.question_index import QuestionIndex
from tfds_builders.openaqa.full import (
  build_report,
  clip_audio,
  plan,
  shards,
  worker,
)

SPLIT = "train"


class BuildError(ValueError):
  """A data set that must not be built from this input; says what to do."""


@dataclasses.dataclass(frozen=True)
class Limits:
  """When a build fails rather than give less than was meant.

  Attributes:
    min_coverage: Least share of the clips asked for that can be used.
    max_bad_entries: Greatest share of JSON entries that are wrong.
  """

  min_coverage: float
  max_bad_entries: float


@dataclasses.dataclass(frozen=True)
class How:
  """Who does the work; nothing here changes what comes out.

  Attributes:
    num_processes: Processes on this machine; 0 for one a core.
    beam_runner: An Apache Beam runner, or None.
    beam_options: Options of the Beam pipeline, or None.
  """

  num_processes: int = 0
  beam_runner: Any = None
  beam_options: Any = None

  @property
  def uses_beam(self) -> bool:
    """Whether Beam was asked for."""
    return self.beam_runner is not None or self.beam_options is not None


@dataclasses.dataclass(frozen=True)
class _State:
  """What `plan.json` holds.

  Attributes:
    made_from: What the plan and the shards depend on.
    plan: The first pass.
    job: How the shards are made.
  """

  made_from: dict[str, Any]
  plan: plan.Plan
  job: shards.Job

  def save(self, folder: epath.Path) -> None:
    """Writes it whole or not at all."""
    text = json.dumps(dataclasses.asdict(self))
    shards.write_whole(folder / "plan.json", text)


@contextlib.contextmanager
def only_one(folder: epath.Path) -> Iterator[None]:
  """Holds the right to build in a folder of this machine.

  The system frees it when the process ends, however it ends. Of a bucket nobody
  can hold it.

  Args:
    folder: Is made.

  Raises:
    BuildError: If another process holds it.
  """
  if "://" in os.fspath(folder):
    yield
    return
  folder.mkdir(parents=True, exist_ok=True)
  held = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    os.close(held)
    raise BuildError(
      f"another process builds in {folder}; wait until it is done"
    ) from error
  try:
    yield
  finally:
    os.close(held)


def build(
  source: plan.Input,
  folder: epath.Path,
  *,
  decoder: str,
  drop_duplicates: bool,
  num_shards: int | None,
  limits: Limits,
  how: How,
) -> tuple[shards.Job, dict[str, Any]]:
  """Makes all shards.

  Args:
    source: What to build from.
    folder: Where to work; what an earlier build left there is used.
    decoder: `soundfile` or `tfio`.
    drop_duplicates: Whether a question that a clip has twice is kept once.
    num_shards: How many files; None for about 300 MB each.
    limits: When to fail.
    how: Who does the work.

  Returns:
    The job, whose shards are done, and the report (see `build_report.make`).

  Raises:
    BuildError: If the input is beyond the limits; the report is in the message.
    JsonError, RootError, PlanError: If input cannot be read.
    WorkerError: If a worker process ended early.
  """
  start = time.monotonic()
  clip_audio.reader(decoder)  # Whether it is there is better known now.
  audio = plan.list_sounds(source)
  made_from = source.fingerprint() | {
    "sounds": audio.digest,
    "decoder": decoder,
    "drop_duplicates": drop_duplicates,
    "num_shards": num_shards,
  }
  state = _load(folder, made_from)
  if state is None:
    if folder.exists():
      folder.rmtree()
    first = plan.make(source, audio, folder / "spool")
    _check(build_report.make(first, []), first, limits, "found")
    job = shards.Job(
      folder=os.fspath(folder),
      num_shards=num_shards or first.default_num_shards(),
      decoder=decoder,
      drop_duplicates=drop_duplicates,
    )
    state = _State(made_from, first, job)
    state.save(folder)
  else:
    _check(build_report.make(state.plan, []), state.plan, limits, "found")
  _make_shards(state, how)
  parts = [
    json.loads(state.job.report(shard).read_text())
    for shard in range(state.job.num_shards)
  ]
  report = build_report.make(state.plan, parts)
  report["seconds"] = round(time.monotonic() - start, 1)
  print(build_report.table(report), flush=True)
  _check(report, state.plan, limits, "used", made_in=state.job.folder)
  return state.job, report


def _load(folder: epath.Path, made_from: Mapping[str, Any]) -> _State | None:
  """Returns what an earlier build left, if it was of the same input."""
  file = folder / "plan.json"
  if not file.exists():
    return None
  saved = json.loads(file.read_text())
  # Through JSON, as tuples come back as lists.
  if saved["made_from"] != json.loads(json.dumps(made_from)):
    print(
      f"OpenAQA: {folder} is of other questions, sounds or options; starting"
      " anew",
      flush=True,
    )
    return None
  # The folder may have been moved.
  job = shards.Job(**saved["job"] | {"folder": os.fspath(folder)})
  return _State(saved["made_from"], plan.Plan(**saved["plan"]), job)


def _check(
  report: Mapping[str, Any],
  first: plan.Plan,
  limits: Limits,
  name: str,
  made_in: str | None = None,
) -> None:
  """Raises BuildError if too much is bad or missing."""
  problems = []
  bad = first.num_bad / max(1, first.num_read)
  if bad > limits.max_bad_entries:
    problems.append(
      f"{first.num_bad} of {first.num_read} entries are wrong"
      f" ({bad:.2%}, at most {limits.max_bad_entries:.2%}: max_bad_entries)"
    )
  share = build_report.coverage(report, name)
  if not share or share < limits.min_coverage:
    problems.append(
      f"{share:.2%} of the clips were {name}, at least"
      f" {limits.min_coverage:.2%} have to be (min_coverage)"
    )
  if problems:
    remedy = "Mend the input, or change the limit."
    if made_in:
      # Sounds are not looked at again where a build goes on.
      remedy = f"Mend the sounds and remove {made_in}, or change the limit."
    raise BuildError(
      f"OpenAQA is not built: {'; '.join(problems)}. {remedy}"
      f"\n{build_report.table(report)}"
    )


def _make_shards(state: _State, how: How) -> None:
  """Has those shards made that are not there, under a bar of clips."""
  job = state.job
  done = [s for s in range(job.num_shards) if job.is_done(s)]
  todo = [s for s in range(job.num_shards) if s not in set(done)]
  if done:
    print(
      f"OpenAQA: going on in {job.folder}, {len(done)} of {job.num_shards}"
      " shards are done; remove it if sounds were mended since",
      flush=True,
    )
  if how.uses_beam:
    _run_with_beam(job, todo, how)
    return
  with tqdm.tqdm(
    total=state.plan.num_clips,
    unit=" clips",
    desc=f"OpenAQA: making {len(todo)} shards",
    mininterval=1,
  ) as bar:

    def on_done(shard: int) -> None:
      bar.update(_num_clips(job, shard))

    bar.initial = sum(_num_clips(job, shard) for shard in done)
    bar.update(bar.initial)
    worker.run(job, todo, how.num_processes or os.cpu_count() or 1, on_done)


def _num_clips(job: shards.Job, shard: int) -> int:
  """Returns how many clips a shard had, used or not."""
  part = json.loads(job.report(shard).read_text())
  return part["records"] + sum(
    one["count"] for one in part["left_out"].values()
  )


def _run_with_beam(job: shards.Job, todo: Sequence[int], how: How) -> None:
  """Has shards made by the workers of a Beam runner."""
  try:
    import apache_beam as beam
  except ImportError as error:
    raise BuildError(
      "Beam was asked for and apache-beam is not installed: pip install"
      " 'ltu-jax[beam]'"
    ) from error
  print(f"OpenAQA: making {len(todo)} shards with Beam", flush=True)
  with beam.Pipeline(
    runner=how.beam_runner, options=how.beam_options
  ) as pipeline:
    _ = (
      pipeline
      | "Shards" >> beam.Create(todo)
      | "Spread" >> beam.Reshuffle()
      | "Build" >> beam.Map(lambda shard: shards.build(job, shard))
    )


def assemble(
  job: shards.Job,
  report: Mapping[str, Any],
  data_dir: epath.Path,
  template: tfds.core.ShardedFileTemplate,
) -> tfds.core.SplitInfo:
  """Puts the shards, index and texts of the questions, and the report together.

  The work folder keeps the shards until the data set is whole: on one disk they
  are linked, which takes no room.

  Args:
    job: Whose shards are done.
    report: From `build`.
    data_dir: Folder of the data set; is there.
    template: Names of the record files.

  Returns:
    The split, for TFDS.
  """
  parts = report["shards"]
  for shard in range(job.num_shards):
    target = template.sharded_filepath(
      shard_index=shard, num_shards=job.num_shards
    )
    _link(job.records(shard), epath.Path(target))
  index = QuestionIndex.join(
    [QuestionIndex.load(job.index(s)) for s in range(job.num_shards)],
    [part["records"] for part in parts],
  )
  index.save(question_index.path(data_dir, SPLIT))
  question_texts.join(
    [job.texts(shard) for shard in range(job.num_shards)],
    question_texts.path(data_dir, SPLIT),
  )
  text = json.dumps(report, indent=1, ensure_ascii=False)
  (data_dir / build_report.FILE).write_text(text + "\n")
  return tfds.core.SplitInfo(
    name=SPLIT,
    shard_lengths=[part["records"] for part in parts],
    num_bytes=sum(part["bytes"] for part in parts),
    filename_template=template,
  )


def _link(source: epath.Path, target: epath.Path) -> None:
  """Gives a file a second name; copies it where that cannot be done."""
  try:
    os.link(source, target)
  except OSError:
    # A bucket, or a file system without hard links.
    source.copy(target, overwrite=True)
