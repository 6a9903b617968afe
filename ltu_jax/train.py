"""The experiment, top to bottom: data, tokenizer, base weights, stages, report.

Started again on the same workdir, a run goes on where it stopped. What a stage
starts from, first that applies:
  1. its own latest checkpoint (weights, optimiser, step, key, data position);
  2. the trained part of each stage before it, laid over the base, with a fresh
     optimiser;
  3. the base weights: converted ones (config.base);
  4. or ones drawn from the seed.
"""

import pathlib
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import ml_collections
from flax import nnx
from jax.sharding import Mesh

from ltu_jax import base, config_check, parameter_table, processes
from ltu_jax import config as config_lib
from ltu_jax.audio.decode import AudioError
from ltu_jax.checkpoint import CheckpointError, Checkpoints
from ltu_jax.config_check_data import check_with_data
from ltu_jax.curriculum import CurriculumError, Stage
from ltu_jax.data.openaqa import Batches
from ltu_jax.data.question_source import (
  PrepareError,
  QuestionSource,
  RecordError,
)
from ltu_jax.data.synthetic import SyntheticBatches
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.evaluate import held_out, report
from ltu_jax.feed import Feed
from ltu_jax.metrics import Metrics, Throughput, duration
from ltu_jax.models.ltu import abstract
from ltu_jax.optim import Schedule
from ltu_jax.sharding import ShardingError, make_mesh
from ltu_jax.supply import open_supply
from ltu_jax.train_state import (
  PartitionError,
  abstract_state,
  new_state,
  split_params,
)
from ltu_jax.train_step import make_train_step
from ltu_jax.unreadable import Skipped, UnreadableError
from ltu_jax.workdir import (
  Workdir,
  from_pure,
  lay_over,
  load_base_params,
  make_base,
  model_config,
  to_pure,
)

USER_ERRORS = (
  AudioError,
  config_lib.ConfigError,
  CurriculumError,
  CheckpointError,
  ShardingError,
  PartitionError,
  PrepareError,
  processes.ProcessError,
  RecordError,
  UnreadableError,
)
"""Errors whose message is all a user needs; main prints them in one line."""


def run(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Trains all stages of a config in a folder, then reports.

  Args:
    config: see default_config.py.
    workdir: the run's folder; made, or gone on in.

  Raises:
    ConfigError: the config cannot be run, or is not the folder's.
    CheckpointError: what is in the folder cannot be used.
    UnreadableError: too many clips cannot be read.
  """
  start = time.time()
  config_check.check(config, jax.device_count())
  stages = config_lib.stages(config)
  mesh = make_mesh(config.mesh)
  folder = Workdir(pathlib.Path(workdir))
  _adopt_base(config)
  folder.check_config(config)
  processes.check_same("the config", config.to_json())
  data = processes.in_turn(lambda: open_supply(config))
  # Once before a tokenizer is trained, which may take minutes.
  check_with_data(config, stages, data, None)
  tokenizer = processes.in_turn(lambda: data.tokenizer(folder))
  check = lambda: check_with_data(config, stages, data, tokenizer, mesh)
  processes.in_turn(check)
  processes.in_turn(lambda: folder.record_config(config))
  processes.in_turn(lambda: _link_base(config, folder))
  tokenizer = processes.in_turn(lambda: folder.record_tokenizer(tokenizer))
  cfg = model_config(folder, config, tokenizer)
  graphdef, _ = abstract(cfg)
  make_base(folder, config, cfg, mesh)
  params, base_hash = load_base_params(folder, cfg, mesh)

  metrics = None
  for stage in stages:
    size = (data.num_questions(stage), config.data.batch_size)
    last = stage.last_step(*size)
    with Checkpoints(
      folder.checkpoints(stage),
      keep=config.keep_checkpoints,
      save_every=config.checkpoint_every,
      metadata={"stage": stage.number, "base_hash": base_hash}
      | {"config": config.to_json(), "base": config.base},
    ) as saved:
      done = saved.latest_step() or 0
      if done >= last:
        print(f"stage {stage.number}: finished before, step {done}", flush=True)
        params = lay_over(folder, stage, params)
        continue
      if metrics is None:
        metrics = Metrics(
          folder.root,
          resume=(stage.number, done),
          enabled=jax.process_index() == 0,
        )
      skipped = Skipped(
        folder.root,
        stage.number,
        config.data.max_unreadable,
        jax.process_index(),
      )
      run_stage = _StageRun(
        config,
        stage,
        data.batches(stage, tokenizer, cfg.num_audio_tokens),
        stage.schedule(*size),
        mesh,
        last,
        skipped,
      )
      params = run_stage(graphdef, params, saved, metrics)
    _evaluate(
      config, graphdef, params, tokenizer, data.test_set, stage, metrics
    )
  if metrics is not None:
    metrics.close()
  model = nnx.merge(graphdef, params)
  report.final(folder.root, config, model, tokenizer, data.test_set)
  print(f"finished in {duration(time.time() - start)}")
  if tokenizer is not None:
    print(
      f"try: python -m ltu_jax.ask --workdir={workdir} CLIP"
      ' "What can be heard?"'
    )


def _adopt_base(config: ml_collections.ConfigDict) -> None:
  """Takes the sizes of the pretrained parts and says so."""
  if not config.base:
    return
  found = base.info(config.base)
  print(f"{config.base}: {', '.join(found.parts)}", flush=True)
  for line in config_lib.adopt(config, found.parts):
    print(f"  {line}", flush=True)


def _link_base(config: ml_collections.ConfigDict, folder: Workdir) -> None:
  """Links the pretrained base from the run's folder."""
  if config.base and not folder.pretrained.is_symlink():
    folder.pretrained.symlink_to(pathlib.Path(config.base).absolute())


class _StageRun:
  """One stage: restore or start, the loop, the hand-off."""

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    stage: Stage,
    batches: Batches | SyntheticBatches,
    schedule: Schedule,
    mesh: Mesh,
    last_step: int,
    skipped: Skipped,
  ):
    self.config, self.stage, self.mesh = config, stage, mesh
    self.last_step, self.skipped = last_step, skipped
    self.batches, self.schedule = batches, schedule
    self.feed = Feed(mesh, config.data.batch_size, config.data.micro_batches)

  def __call__(
    self,
    graphdef: nnx.GraphDef,
    params: nnx.State,
    saved: Checkpoints,
    metrics: Metrics,
  ) -> nnx.State:
    """Trains to the last step; returns all parameters."""
    config, stage = self.config, self.stage
    trainable, frozen = split_params(params, stage.trainable)
    metrics.print(f"\nstage {stage.number}: {stage.name}")
    metrics.print(
      parameter_table.render(parameter_table.rows(trainable, frozen))
    )
    step_fn = make_train_step(
      graphdef,
      trainable,
      frozen,
      self.mesh,
      loss_norm=config.optimizer.loss_norm,
      max_grad_norm=config.optimizer.max_grad_norm,
      augment=config_lib.augment(config),
      loss_chunk=config.optimizer.loss_chunk,
    )
    state, iterator = self._restore_or_start(trainable, saved)
    throughput, previous = Throughput(), None
    first = int(state["step"])
    # Order: save state and data position, next batch, step, write the metrics
    # of the step before while the device works.
    for step in range(first, self.last_step):
      if step > first:
        if step % config.checkpoint_every == 0:
          # A run that dies now goes on from here: its line must be written.
          self._report(step, previous, throughput, metrics)
          previous = None
        saved.save(step, to_pure(state), iterator)
      with throughput.waiting():
        batch = self._next(iterator, step)
      state, values = step_fn(state, frozen, batch, self.schedule)
      if previous is not None:
        self._report(step, previous, throughput, metrics)
      previous = values
      throughput.add(config.data.batch_size)
    self._report(self.last_step, previous, throughput, metrics)
    saved.save(self.last_step, to_pure(state), iterator, force=True)
    return nnx.merge_state(state["trainable"], frozen)

  def _restore_or_start(self, trainable: nnx.State, saved: Checkpoints):
    """State and data iterator, resumed or new."""
    iterator = iter(self.batches.dataset(self.feed.places))
    if saved.latest_step() is None:
      key = jax.random.fold_in(
        jax.random.key(self.config.seed), self.stage.number
      )
      # The step donates its state: the caller's parameters must survive.
      trainable = jax.tree.map(jnp.copy, trainable)
      return new_state(trainable, key, self.mesh), iterator
    like = abstract_state(trainable, self.mesh)
    pure, iterator, _ = saved.restore(to_pure(like), iterator)
    state = from_pure(pure, like)
    print(
      f"stage {self.stage.number}: going on at step {int(state['step'])}",
      flush=True,
    )
    return state, iterator

  def _next(self, iterator: Iterator, step: int) -> dict[str, jax.Array]:
    """Batch `step` on the devices, [micro-batches, rows, ...]."""
    batch = next(iterator)
    rows = self.batches.skipped(step, batch, self.feed.places)
    self.skipped.tell(step + 1, rows)
    if not self.stage.audio:
      batch = {k: v for k, v in batch.items() if k != "pcm"}
    return self.feed(batch)

  def _report(
    self,
    step: int,
    values: dict[str, jax.Array],
    throughput: Throughput,
    metrics: Metrics,
  ) -> None:
    """Writes a step's metrics; every `log_every` steps also a line."""
    values = {k: float(v) for k, v in values.items()}
    values["lr"] = values.pop("learning_rate")
    skipped = int(values.pop("skipped"))
    if skipped:
      values["skipped"] = skipped
    if step % self.config.log_every == 0 or step == self.last_step:
      values |= throughput.read()
      metrics.progress(self.stage.number, step, self.last_step, values)
    metrics.write(self.stage.number, step, values)
    self.skipped.count(skipped, self.config.data.batch_size)


def _evaluate(
  config: ml_collections.ConfigDict,
  graphdef: nnx.GraphDef,
  params: nnx.State,
  tokenizer: Tokenizer | None,
  test_set: QuestionSource | None,
  stage: Stage,
  metrics: Metrics,
) -> None:
  """The evaluation line at a stage's end, where there are held-out clips."""
  if not config.eval.stage_items or test_set is None:
    return
  result = held_out.evaluate(
    nnx.merge(graphdef, params),
    tokenizer,
    test_set,
    held_out.settings(config, config.eval.stage_items),
  )
  metrics.print(f"stage {stage.number}  held out: {result.line()}")
