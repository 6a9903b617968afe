"""One stage of training: restore or start, the loop, the hand-off."""

import functools
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ltu_jax import config as config_lib
from ltu_jax import parameter_table, processes, resume
from ltu_jax.bad_batches import BadBatches
from ltu_jax.checkpoint import Checkpoints
from ltu_jax.curriculum import Stage
from ltu_jax.data import buckets
from ltu_jax.data.patience import Patient
from ltu_jax.experiment import Experiment
from ltu_jax.feed import feeds
from ltu_jax.gauges import Gauges, parts, step_flops
from ltu_jax.stop import Stopped
from ltu_jax.train_state import (
  TrainState,
  abstract_state,
  from_pure,
  new_state,
  overlay,
  split_params,
  to_pure,
)
from ltu_jax.train_step import NOTES, make_train_step
from ltu_jax.unreadable import Skipped
from ltu_jax.workdir import weight_shapes


class StageRun:
  """Trains one stage of an experiment, or goes on with it."""

  def __init__(self, experiment: Experiment, stage: Stage, params: nnx.State):
    """Gets ready.

    Args:
      experiment: what all stages share.
      stage: the stage.
      params: all parameters, as the stage before left them.
    """
    config, data = experiment.config, experiment.data
    size = data.size(stage)
    self.experiment, self.config, self.stage = experiment, config, stage
    self.metrics, self.stop = experiment.metrics, experiment.stop
    self.schedule = stage.schedule(*size)
    self.last_step = stage.last_step(*size)
    self.trainable, self.frozen = split_params(params, stage.trainable)
    self.batches = data.batches(
      stage, experiment.tokenizer, experiment.cfg.num_audio_tokens
    )
    max_tokens = config_lib.max_tokens(config, stage)
    sizes = {s.rows for s in buckets.shapes_of(config.data, max_tokens)}
    self.feeds = feeds(experiment.mesh, sizes, config.data.micro_batches)
    self.places = {rows: feed.places for rows, feed in self.feeds.items()}
    process, root = jax.process_index(), experiment.folder.root
    self.skipped = Skipped(
      root, stage.number, config.data.max_unreadable, process
    )
    self.bad = BadBatches(
      root,
      stage.number,
      self.batches,
      config.guard.max_in_row,
      enabled=process == 0,
    )
    trained = parts(self.trainable)
    work = functools.partial(step_flops, experiment.cfg, trained)
    about = (experiment.times, experiment.profile, experiment.mesh)
    self.gauges = Gauges(*about, stage.number, work)
    self._sums: dict[str, list[float]] = {}

  def __call__(self, saved: Checkpoints) -> tuple[nnx.State, bool]:
    """Trains to the last step.

    Args:
      saved: the stage's checkpoints.

    Returns:
      All parameters; and whether the stage had been finished before.

    Raises:
      Stopped: the run was asked to end, and its state is saved.
    """
    if params := self._finished_before(saved):
      return params, True
    self.gauges.times.begin(self.stage.number)
    table = parameter_table.rows(self.trainable, self.frozen)
    self.metrics.print(f"\nstage {self.stage.number}: {self.stage.name}")
    if words := self.experiment.data.about(self.stage, self.last_step):
      self.metrics.print(f"stage {self.stage.number}: {words}")
    self.metrics.print(parameter_table.render(table))
    step_fn = self.make_step()
    state, iterator = self.restore_or_start(saved)
    self.metrics.begin(self.stage.number, int(state["step"]))
    done = int(state["step"])
    with self.stop.step_in_hand(), self.gauges.loop(done, self.last_step):
      state = self._loop(step_fn, state, iterator, saved)
    if processes.heard(None, bool(self.stop.reason)):
      raise self._stopped(self.last_step)
    return nnx.merge_state(state["trainable"], self.frozen), False

  def make_step(self) -> Callable:
    """The compiled step of this stage."""
    config = self.config
    return make_train_step(
      self.experiment.graphdef,
      self.trainable,
      self.frozen,
      self.experiment.mesh,
      loss_norm=config.optimizer.loss_norm,
      max_grad_norm=config.optimizer.max_grad_norm,
      augment=config_lib.augment(config),
      loss_chunk=config.optimizer.loss_chunk,
      guard=config_lib.guard(config),
    )

  def restore_or_start(
    self, saved: Checkpoints | None, step: int | None = None
  ) -> tuple[TrainState, Iterator]:
    """State and data iterator, resumed or new.

    Args:
      saved: the stage's checkpoints; None where there are none.
      step: which of them; None is the latest, 0 the stage's start.
    """
    mesh, number = self.experiment.mesh, self.stage.number
    iterator = self._reader()
    if saved and step != 0 and saved.latest_step() is not None:
      self._check_origin(saved)
      like = abstract_state(self.trainable, mesh)
      found = saved.restore(to_pure(like), iterator, step)
      if found is not None:
        state = from_pure(found[0], like)
        words = f"stage {number}: going on at step {int(state['step'])}"
        self.metrics.print(words)
        return state, iterator
    key = jax.random.fold_in(jax.random.key(self.config.seed), number)
    # The step donates its state: the caller's parameters must survive.
    trainable = jax.tree.map(jnp.copy, self.trainable)
    return new_state(trainable, key, mesh), iterator

  def _reader(self) -> Patient:
    """A new iterator over the batches, at the start."""
    data, number = self.config.data, self.stage.number
    return Patient(
      iter(self.batches.dataset(self.places)),
      f"{processes.name()}stage {number}, data",
      self.experiment.folder.root,
      stall_seconds=data.stall_seconds,
      give_up_seconds=data.give_up_seconds,
    )

  def next_batch(
    self, iterator: Iterator, step: int, save_failed: bool = False
  ) -> dict[str, jax.Array]:
    """Batch `step` on the devices, [micro-batches, rows, ...]."""
    batch = next(iterator)
    rows = self.batches.skipped(step, batch, self.places)
    self.skipped.tell(step + 1, rows)
    feed = self.feeds[self.batches.shape(step).rows]
    if not self.stage.audio:
      batch = {k: v for k, v in batch.items() if k != "pcm"}
    notes = {"stop": bool(self.stop.reason), "save_failed": save_failed}
    for note, value in notes.items():
      batch[note] = np.full(len(feed.places), value, np.float32)
    return feed(batch)

  def _loop(
    self,
    step_fn: Callable,
    state: TrainState,
    iterator: Iterator,
    saved: Checkpoints,
  ) -> TrainState:
    """The steps.

    The order: end if asked to; write the metrics of the step before and then
    evaluate and save, where that is due; next batch; step; and else the metrics
    of the step before, while the device works.
    """
    previous, told = None, {}
    first = int(state["step"])
    for step in range(first, self.last_step):
      self.experiment.check_lock()
      if processes.heard(told.get("save_failed"), saved.has_failed()):
        with self.gauges.saving(step):
          saved.settle()
      if processes.heard(told.get("stop"), bool(self.stop.reason)):
        if previous is not None:
          self._report(step, previous)
        self._end_early(step, state, iterator, saved)
      evaluates = self.experiment.sets.due(step)
      if step > first and (saved.due(step) or evaluates):
        # A run that dies later goes on from here: its lines must be written.
        told = self._report(step, previous)
        previous = None
        if evaluates:
          params = nnx.merge_state(state["trainable"], self.frozen)
          with self.gauges.times.spent("evaluate"):
            self.experiment.evaluate_sets(params, self.stage, step)
        if saved.due(step):
          self._save(step, state, iterator, saved)
      with self.gauges.step(step + 1, previous):
        with self.gauges.waiting(previous):
          batch = self.next_batch(iterator, step, saved.has_failed())
        with self.gauges.calling(step + 1, batch):
          state, values = step_fn(state, self.frozen, batch, self.schedule)
      self.gauges.called(step + 1, values)
      if previous is not None:
        told = self._report(step, previous)
      previous = values
    self._report(self.last_step, previous)
    self._finish(self.last_step, state, iterator, saved)
    return state

  def _save(
    self, step: int, state: TrainState, iterator: Iterator, saved: Checkpoints
  ) -> None:
    """Starts to save, once the metrics up to here are on the disk."""
    if problem := processes.any_problem(self.experiment.flush()):
      saved.put_off(step, problem)
      return
    with self.gauges.saving(step):
      saved.save(step, to_pure(state), iterator, metrics=self._means())
    self._sums = {}

  def _finish(
    self, step: int, state: TrainState, iterator: Iterator, saved: Checkpoints
  ) -> None:
    """Saves, with several tries, and waits until all is safe."""
    with self.gauges.saving(step):
      saved.finish(
        step,
        to_pure(state),
        iterator,
        metrics=self._means(),
        ready=self.experiment.flush,
      )

  def _end_early(
    self, step: int, state: TrainState, iterator: Iterator, saved: Checkpoints
  ) -> None:
    """Saves and raises Stopped."""
    if step:  # step 0 can be made again
      self._finish(step, state, iterator, saved)
    raise self._stopped(step)

  def _stopped(self, step: int) -> Stopped:
    """What to raise when all is saved."""
    why = self.stop.reason or "another process was told to stop"
    return Stopped(
      f"{why}: stopped after step {step} of stage {self.stage.number}; safe"
      f" after {self.stop.seconds():.1f} s"
    )

  def _finished_before(self, saved: Checkpoints) -> nnx.State | None:
    """All parameters, if the last step is there and whole."""
    if (saved.latest_step() or 0) < self.last_step:
      return None
    self._check_origin(saved)
    found = saved.load_latest(weight_shapes(self.trainable))
    if found is None or found[0] < self.last_step:
      return None
    words = f"stage {self.stage.number}: finished before, step {found[0]}"
    self.metrics.print(words)
    return overlay(nnx.merge_state(self.trainable, self.frozen), found[1])

  def _check_origin(self, saved: Checkpoints) -> None:
    """Refuses another base or other data; tells of other devices."""
    experiment = self.experiment
    lines = resume.check(
      saved.metadata(),
      experiment.origin,
      experiment.allow,
      experiment.folder.checkpoints(self.stage),
    )
    for line in lines:
      self.metrics.print(f"stage {self.stage.number}: since the save, {line}")

  def _report(
    self, step: int, values: Mapping[str, jax.Array]
  ) -> dict[str, float]:
    """Writes a step's metrics; every `log_every` steps also a line.

    Returns:
      What one process had to tell all (NOTES).
    """
    values = {k: float(v) for k, v in values.items()}
    notes = {note: values.pop(note) for note in NOTES}
    values["lr"] = values.pop("learning_rate")
    # Padding in place of rows that an epoch's last batch lacks is no clip.
    absent = self.batches.num_padding(step - 1)
    values["skipped"] -= absent
    seldom = ("skipped", "not_finite", "not_updated")
    line = {k: v for k, v in values.items() if v or k not in seldom}
    self.gauges.done(step, values)
    if step % self.config.log_every == 0 or step == self.last_step:
      line |= self.gauges.read()
      self.metrics.progress(self.stage.number, step, self.last_step, line)
    self.metrics.write(self.stage.number, step, line)
    for name, value in values.items():
      if not values["not_finite"]:
        self._sums.setdefault(name, []).append(value)
    self.bad.note(step, values)
    rows = self.batches.shape(step - 1).rows - absent
    self.skipped.count(int(values["skipped"]), rows)
    return notes

  def _means(self) -> dict[str, float]:
    """Means of the metrics over the steps since the last save."""
    return {name: float(np.mean(values)) for name, values in self._sums.items()}
