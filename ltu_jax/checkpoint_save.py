"""Saving checkpoints, so that a save that fails ends neither run nor others."""

import contextlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
from orbax.checkpoint import v1 as ocp

from ltu_jax import bucket_store, processes
from ltu_jax.checkpoint_keep import METRICS, Keep
from ltu_jax.checkpoint_position import Position
from ltu_jax.checkpoint_seal import sealed
from ltu_jax.checkpoint_step import CheckpointError, check_state, reason
from ltu_jax.data.bucket import is_bucket
from ltu_jax.space import num_bytes

_SAVE_ERRORS = (ValueError, OSError, jax.errors.JaxRuntimeError)
"""What Orbax raises where a step cannot be written, beside what a bucket's
clients raise: TensorStore's words are a ValueError, and a process that waits in
vain for another gets JAX's error."""

_MOST_STEPS_BETWEEN_TRIES = 64
"""A save that failed is tried again after 1, 2, 4, ... steps, at most this."""

_SAVE_SECONDS = 300
"""A save that takes longer has failed. Where it fails in one process, the
others learn of it by this time alone."""

_TRY = "try-"
"""How the folders begin in which is tried whether anything can be written."""

_PAUSES = (1, 2, 4, 8, 16)
"""Seconds before each new try of a save that training waits for."""


class Saves:
  """The writing half of `checkpoint.Checkpoints`, which see.

  Attributes:
    any_failed: Whether a save failed within Orbax in this process. Threads of
      it may then keep Python from ending, for minutes.
  """

  any_failed = False

  def __init__(
    self,
    directory: str | os.PathLike,
    keep: Keep | None,
    save_every: int | None,
    metadata: Mapping[str, Any] | None,
    read_only: bool,
  ):
    """Opens the folder; the arguments are those of `Checkpoints`."""
    self._directory = bucket_store.path(directory)
    self._metadata = dict(metadata or {})
    self._save_every = save_every
    self._metrics: dict[int, Mapping[str, float]] = {}
    self._saving: int | None = None
    self._problem = ""  # why the save that is going on has failed, if known
    self._failures, self._pause = 0, 0
    self._in_bucket = is_bucket(self._directory)
    if not (read_only or self._in_bucket or jax.process_index()):
      for path in self._directory.glob(f"{_TRY}*"):
        shutil.rmtree(path, ignore_errors=True)  # a killed run's
    context = ocp.Context()
    context.asynchronous.timeout_secs = _SAVE_SECONDS
    try:
      self._checkpointer = ocp.training.Checkpointer(
        self._directory,
        context=context,
        preservation_policy=(keep or Keep()).policy(
          self._directory, self._metrics
        ),
        cleanup_tmp_directories=not read_only,
      )
    except (OSError, *bucket_store.errors()) as error:
      raise CheckpointError(
        f"{self._directory}: this folder of checkpoints cannot be used"
        f" ({reason(error)})"
      ) from error

  def __enter__(self) -> Self:
    """Returns itself; leaving the block waits for unfinished saves."""
    return self

  def __exit__(self, *_: object) -> None:
    """Closes."""
    self.close()

  def due(self, step: int) -> bool:
    """Whether to save now: at the interval, or as a save failed before.

    To be called once a step.

    Args:
      step: Number of finished optimizer steps. Step 0 is not due: it can be
        made again from the config.
    """
    if self._failures:
      self._pause -= 1
      return self._pause <= 0
    return bool(step and self._save_every and step % self._save_every == 0)

  def save(
    self,
    step: int,
    state: Mapping[str, Any],
    iterator: Any,
    metadata: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
  ) -> bool:
    """Starts to save a step, and returns before it is written.

    The arrays are copied first, so the caller may donate them at once. A step
    that is already there is left as it is. A save that fails is told by
    `has_failed` later, and ends no older step.

    Args:
      step: Number of finished optimizer steps.
      state: As in the class's docstring.
      iterator: The grain iterator; its position is saved. None: no position.
      metadata: JSON values for this step; they go over the ones of all steps.
      metrics: What `keep` chooses the best by.

    Returns:
      Whether a save was started.

    Raises:
      CheckpointError: A key of the trainable weights is not a str, or a leaf
        of the state is no array.
    """
    self.settle()
    if step in self.steps():
      return False
    check_state(state)
    obstacle = ""
    # A bucket has room, and had just taken the metrics.
    if not self._in_bucket:
      obstacle = _obstacle(self._directory, num_bytes(dict(state)))
    if problem := processes.any_problem(obstacle):
      self.put_off(step, problem)
      return False
    items, position = {"state": dict(state)}, None
    if iterator is not None:
      position = json.dumps(iterator.get_state(), indent=4)
      items["data"] = Position(position)
    custom = {**self._metadata, **(metadata or {}), "step": step}
    if metrics:
      self._metrics[step] = custom[METRICS] = dict(metrics)
    custom = sealed(custom, items["state"], position)
    self._saving = step
    try:
      self._checkpointer.save_checkpointables_async(
        step,
        items,
        force=True,
        custom_metadata=custom,
      )
    except (*_SAVE_ERRORS, *bucket_store.errors()) as error:
      self._problem = reason(error)
    return True

  def has_failed(self) -> bool:
    """Whether this process knows that the save that was started has failed.

    Does not wait. Then `settle` is to be called by all processes.
    """
    if self._saving is None or self._checkpointer.is_saving_in_progress():
      return bool(self._problem)
    self._problem = self._problem or self._wait()
    return bool(self._problem)

  def settle(self) -> bool:
    """Waits until a started save is written, or has failed in any process.

    A failure is told in one line; what it left is removed, and `due` asks for
    another save.

    Returns:
      Whether all that was started is safe.
    """
    if self._saving is None:
      return True
    problem = processes.any_problem(self._problem or self._wait())
    step, self._saving, self._problem = self._saving, None, ""
    if not problem:
      self._failures = 0
      return True
    Saves.any_failed = True
    self._sweep(step)
    self.put_off(step, problem)
    return False

  def put_off(self, step: int, problem: str) -> None:
    """Tells why a step is not saved; `due` asks for another before long."""
    self._pause = min(2**self._failures, _MOST_STEPS_BETWEEN_TRIES)
    self._failures += 1
    safe = ", ".join(map(str, self.steps())) or "none"
    tell(
      f"{self._directory / str(step)}: this checkpoint could not be saved"
      f" ({problem}). Steps that are safe: {safe}."
    )

  def finish(
    self,
    step: int,
    state: Mapping[str, Any],
    iterator: Any,
    metrics: Mapping[str, float] | None = None,
    ready: Callable[[], str] = str,
  ) -> None:
    """Saves a step and waits until it is safe, with several tries.

    Args:
      step: As for `save`, as are the next three.
      state: The state.
      iterator: The data iterator.
      metrics: What `keep` chooses the best by.
      ready: Called before each try; says what has to be mended first, if
        anything has.

    Raises:
      CheckpointError: It cannot be saved.
    """
    for pause in (*_PAUSES, 0):
      if problem := processes.any_problem(ready()):
        self.put_off(step, problem)
      else:
        self.save(step, state, iterator, metrics=metrics)
        if self.settle() and step in self.steps():
          return
      time.sleep(pause)
    safe = self.steps()
    raise CheckpointError(
      f"{self._directory / str(step)}: could not be saved in"
      f" {len(_PAUSES) + 1} tries. Make room, or mend the disk; started again,"
      f" the run goes on from step {safe[-1] if safe else 0}."
    )

  def close(self) -> None:
    """Waits, then frees the threads; the object is of no use after it."""
    if self._saving is not None and (problem := self._problem or self._wait()):
      tell(
        f"{self._directory / str(self._saving)}: this checkpoint could not be"
        f" saved ({problem})."
      )
    self._checkpointer.close()

  def steps(self) -> list[int]:
    """Finished steps in order; one that is being written is none."""
    steps = [c.step for c in self._checkpointer.checkpoints]
    return [step for step in steps if step != self._saving]

  def _wait(self) -> str:
    """Waits for the save; returns why it failed, if it did."""
    try:
      self._checkpointer.wait()
    except (*_SAVE_ERRORS, *bucket_store.errors()) as error:
      return reason(error)
    return ""

  def _sweep(self, step: int) -> None:
    """Removes what a failed save left, which may be what fills the disk."""
    if self._in_bucket and jax.process_index() == 0:
      with contextlib.suppress(bucket_store.BucketError):
        bucket_store.Store(self._directory).remove_folder(str(step))
    elif jax.process_index() == 0:
      for path in self._directory.glob(f"{step}.orbax-checkpoint-tmp*"):
        shutil.rmtree(path, ignore_errors=True)
    processes.barrier(f"swept {self._directory / str(step)}")
    self._checkpointer.reload()  # it forgets steps that it meant to remove


def _obstacle(directory: pathlib.Path, size: int) -> str:
  """Why a checkpoint of so many bytes cannot be written; "" if it may be.

  Orbax would find out too, but its threads then wait for minutes, with copies
  of the arrays.
  """
  if jax.process_index():
    return ""
  try:
    with tempfile.TemporaryDirectory(prefix=_TRY, dir=directory) as folder:
      (pathlib.Path(folder) / "file").write_bytes(bytes(4096))
    free = shutil.disk_usage(directory).free
  except OSError as error:
    return f"{error.strerror}: {directory}"
  if free < size:
    return f"{size / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free"
  return ""


def tell(text: str) -> None:
  """Says something once."""
  if jax.process_index() == 0:
    print(text, file=sys.stderr, flush=True)
