"""The experiment, top to bottom: data, tokenizer, base weights, stages, report.

Started again on the same workdir, a run goes on where it stopped. What a stage
starts from, first that applies:
  1. its own latest checkpoint (weights, optimiser, step, key, data position);
  2. the trained part of each stage before it, laid over the base, with a fresh
     optimiser;
  3. the base weights: converted ones (config.base);
  4. or ones drawn from the seed.
"""

import contextlib
import time
from collections.abc import Collection

import jax
import ml_collections
from flax import nnx
from jax.sharding import Mesh

from ltu_jax import base, config_check, processes, replay, resume, space
from ltu_jax import config as config_lib
from ltu_jax.audio.decode import AudioError
from ltu_jax.bad_batches import BadBatchError
from ltu_jax.bucket_store import BucketError
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.config_check_data import check_with_data
from ltu_jax.curriculum import CurriculumError, Stage
from ltu_jax.data.openaqa import RowError
from ltu_jax.data.patience import StalledError, WorkerError
from ltu_jax.data.question_source import PrepareError, RecordError
from ltu_jax.data.question_texts import TextsError
from ltu_jax.data.text_lengths import LengthsError
from ltu_jax.data.tokenizer import Tokenizer, TokenizerError
from ltu_jax.evaluate import held_out, report
from ltu_jax.evaluate.in_training import SetsInTraining
from ltu_jax.experiment import Experiment, keep
from ltu_jax.metrics import Metrics, duration
from ltu_jax.metrics_file import MetricsError
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.profiling import Profile
from ltu_jax.sharding import ShardingError, make_mesh
from ltu_jax.stage_run import StageRun
from ltu_jax.stop import Stop
from ltu_jax.supply import Supply, open_supply
from ltu_jax.times import Times
from ltu_jax.train_state import (
  PartitionError,
  abstract_params,
  abstract_state,
  split_params,
)
from ltu_jax.unreadable import UnreadableError
from ltu_jax.workdir import (
  Workdir,
  load_base_params,
  make_base,
  model_config,
)
from ltu_jax.workdir_lock import LockError, WorkdirLock

USER_ERRORS = (
  AudioError,
  BadBatchError,
  BucketError,
  config_lib.ConfigError,
  CurriculumError,
  CheckpointError,
  LengthsError,
  LockError,
  MetricsError,
  ShardingError,
  space.SpaceError,
  PartitionError,
  PrepareError,
  processes.ProcessError,
  RecordError,
  RowError,
  StalledError,
  TextsError,
  TokenizerError,
  UnreadableError,
  WorkerError,
)
"""Errors whose message is all a user needs; main prints them in one line."""


def run(
  config: ml_collections.ConfigDict,
  workdir: str,
  allow: Collection[str] = (),
) -> None:
  """Trains all stages of a config in a folder, then reports.

  Args:
    config: see default_config.py.
    workdir: the run's folder, of this machine or in a bucket; made, or gone on
      in.
    allow: what may differ from the run so far: fields of the config, such as
      `stages.stage2.peak_lr`, and `base`, `data`, `tokenizer`.

  Raises:
    Stopped: the run was asked to end; what was done is saved.
    ConfigError: the config cannot be run, or is not the folder's.
    CheckpointError: what is in the folder cannot be used.
    UnreadableError: too many clips cannot be read.
    BadBatchError: too many updates in a row were skipped.
  """
  start, stop, times = time.time(), Stop(), Times()
  folder = Workdir.at(workdir)
  with contextlib.ExitStack() as held:
    held.enter_context(stop.listening())
    experiment, params = _prepare(
      config, folder, frozenset(allow), stop, times, held
    )
    if config.debug.replay:
      replay.run(experiment, params)
      return
    for stage in config_lib.stages(config):
      stage_run = StageRun(experiment, stage, params)
      with experiment.checkpoints(stage) as saved:
        params, was_finished = stage_run(saved)
      if not was_finished:
        with times.spent("evaluate"):
          _evaluate(experiment, params, stage)
          experiment.evaluate_sets(params, stage, stage_run.last_step)
    model = nnx.merge(experiment.graphdef, params)
    tokenizer, test_set = experiment.tokenizer, experiment.data.test_set
    with times.spent("evaluate"):
      report.final(folder.root, config, model, tokenizer, test_set)
  print(f"finished in {duration(time.time() - start)}")
  if tokenizer is not None:
    print(
      f"try: python -m ltu_jax.ask --workdir={workdir} CLIP"
      ' "What can be heard?"'
    )


def _prepare(
  config: ml_collections.ConfigDict,
  folder: Workdir,
  allow: frozenset[str],
  stop: Stop,
  times: Times,
  held: contextlib.ExitStack,
) -> tuple[Experiment, nnx.State]:
  """Checks everything, opens the data, makes or loads the start weights."""
  config_check.check(config, jax.device_count())
  stages = config_lib.stages(config)
  mesh = make_mesh(config.mesh)
  _adopt_base(config)
  folder.check_config(config, allow)
  processes.check_same("the config", config.to_json())
  data = processes.in_turn(lambda: open_supply(config))
  # Once before a tokenizer is trained, which may take minutes.
  check_with_data(config, stages, data, None)
  if config.debug.replay:
    folder.read_config()  # there has to be a run
  sets = SetsInTraining(config, folder.root, data.test_set)
  lock = processes.in_turn(lambda: _lock(folder, held))
  tokenizer = processes.in_turn(
    lambda: _first_tokenizer(config, data, folder, mesh)
  )
  if not config.debug.replay:
    processes.in_turn(lambda: folder.record_config(config))
    held.enter_context(folder.pushing())
    if jax.process_index() == 0:
      times.open(folder.root)
      held.callback(times.close)
  if config.base:
    processes.in_turn(lambda: folder.record_pretrained(config.base))
  tokenizer = processes.in_turn(lambda: folder.record_tokenizer(tokenizer))
  processes.in_turn(lambda: data.measure(folder, tokenizer))
  # Now it is known how many rows the questions make.
  check_with_data(config, stages, data, None)
  cfg = model_config(folder, config, tokenizer)
  _check_space(config, folder, cfg, mesh)
  make_base(folder, config, cfg, mesh)
  params, base_hash = load_base_params(folder, cfg, mesh)
  metrics = Metrics(folder.root, enabled=jax.process_index() == 0)
  held.callback(metrics.close)
  tokenizer_hash = resume.hash_files([*folder.root.glob("tokenizer*")])
  experiment = Experiment(
    config=config,
    folder=folder,
    mesh=mesh,
    data=data,
    tokenizer=tokenizer,
    cfg=cfg,
    graphdef=abstract(cfg)[0],
    metrics=metrics,
    times=times,
    profile=Profile(folder.root, config.profile, metrics.print),
    stop=stop,
    origin=resume.metadata(base_hash, data.identity(), tokenizer_hash, mesh),
    allow=allow,
    check_lock=lock.check if lock else lambda: None,
    sets=sets,
  )
  return experiment, params


def _first_tokenizer(
  config: ml_collections.ConfigDict, data: Supply, folder: Workdir, mesh: Mesh
) -> Tokenizer | None:
  """The tokenizer, checked with the data; in the first process alone."""
  if jax.process_index():
    return None
  tokenizer = data.tokenizer(folder)
  check_with_data(config, config_lib.stages(config), data, tokenizer, mesh)
  return tokenizer


def _lock(folder: Workdir, held: contextlib.ExitStack) -> WorkdirLock | None:
  """Keeps other runs out of the folder; the first process does it."""
  if jax.process_index():
    return None
  lock = held.enter_context(WorkdirLock(folder.home))
  folder.pull()  # the run that had it may have gone on until now
  return lock


def _check_space(
  config: ml_collections.ConfigDict, folder: Workdir, cfg: LtuConfig, mesh: Mesh
) -> None:
  """Compares what will be written with what is free; a bucket has room."""
  if folder.scratch is not None:
    return
  params = abstract_params(cfg, mesh)
  sizes = [
    space.num_bytes(abstract_state(split_params(params, s.trainable)[0], mesh))
    for s in config_lib.stages(config)
  ]
  kept = keep(config)
  needed = (kept.last + kept.best) * sum(sizes) + max(sizes)
  drawn = 0 if folder.pretrained is not None else space.num_bytes(params)
  processes.in_turn(
    lambda: space.check(
      folder.root, needed + drawn, "start weights and checkpoints"
    )
  )


def _adopt_base(config: ml_collections.ConfigDict) -> None:
  """Takes the sizes of the pretrained parts and says so."""
  if not config.base:
    return
  found = base.info(config.base)
  print(f"{config.base}: {', '.join(found.parts)}", flush=True)
  for line in config_lib.adopt(config, found.parts):
    print(f"  {line}", flush=True)


def _evaluate(experiment: Experiment, params: nnx.State, stage: Stage) -> None:
  """The evaluation line at a stage's end, where there are held-out clips."""
  config, test_set = experiment.config, experiment.data.test_set
  if not config.eval.stage_items or test_set is None:
    return
  result = held_out.evaluate(
    nnx.merge(experiment.graphdef, params),
    experiment.tokenizer,
    test_set,
    held_out.settings(config, config.eval.stage_items),
  )
  experiment.metrics.print(f"stage {stage.number}  held out: {result.line()}")
