"""Checkpoints of a run: train state, data position and metadata, on Orbax v1.

A run saves what training changes; the frozen base is saved once (base.py). A
step is written to a temporary folder that is renamed when it is complete, so a
killed save leaves nothing that could be restored. What was damaged later is
told by its seal (checkpoint_seal.py), and the step before takes its place.
"""

import json
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from ltu_jax import checkpoint_aside, processes
from ltu_jax.checkpoint_keep import Keep
from ltu_jax.checkpoint_position import Position
from ltu_jax.checkpoint_seal import Seal, sealed
from ltu_jax.checkpoint_step import (
  CheckpointError,
  DamageError,
  check_state,
  load,
  read_seal,
  reason,
)

_NO_CHECKPOINT = (
  "{0}: there is no finished checkpoint in this folder. Start training with "
  "this workdir to make one, or name the folder of a trained run."
)

_SAVE_ERRORS = (ValueError, OSError, jax.errors.JaxRuntimeError)
"""What Orbax raises where a step cannot be written: TensorStore's words are a
ValueError, and a process that waits in vain for another gets JAX's error."""

_MOST_STEPS_BETWEEN_TRIES = 64
"""A save that failed is tried again after 1, 2, 4, ... steps, at most this."""

_PAUSES = (1, 2, 4, 8, 16)
"""Seconds before each new try of a save that training waits for."""


class Checkpoints:
  """The checkpoints of one stage of a run: DIRECTORY/STEP, written async.

  A state is a dict {"trainable": nested dict of arrays with str keys, "opt":
  an optax state, "step": int32 scalar, "rng": a JAX key}, and more. Leaves may
  be sharded in any way. All methods but `has_failed` are to be called by every
  process, in the same order.
  """

  def __init__(
    self,
    directory: str | os.PathLike,
    *,
    keep: Keep | None = None,
    save_every: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    read_only: bool = False,
  ):
    """Opens a folder of checkpoints, or makes it.

    What lies there under the name of a step and is no checkpoint is moved
    aside, to damaged-STEP, and told.

    Args:
      directory: The folder; each step is a folder in it.
      keep: Which steps stay; the last two by default.
      save_every: `due` at multiples of this; None for never.
      metadata: JSON values stored with every step, beneath those of `save`.
      read_only: Never makes, cleans or moves anything: for readers of a run
        that may still be writing.

    Raises:
      CheckpointError: read_only, and there is no such folder; or the folder
        cannot be made or read.
    """
    self._directory = pathlib.Path(directory).absolute()
    self._metadata = dict(metadata or {})
    self._save_every, self._read_only = save_every, read_only
    self._saving: int | None = None
    self._problem = ""  # why the save that is going on has failed, if known
    self._failures, self._pause = 0, 0
    if read_only and not self._directory.is_dir():
      raise CheckpointError(_NO_CHECKPOINT.format(self._directory))
    try:
      self._checkpointer = ocp.training.Checkpointer(
        self._directory,
        preservation_policy=(keep or Keep()).policy(),
        cleanup_tmp_directories=not read_only,
      )
    except OSError as error:
      raise CheckpointError(
        f"{self._directory}: this folder of checkpoints cannot be used"
        f" ({reason(error)})"
      ) from error
    if not read_only:
      for name, why in checkpoint_aside.unsealed(self._directory).items():
        self._set_aside(name, why)

  def __enter__(self) -> "Checkpoints":
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
    if step in self._steps():
      return False
    check_state(state)
    items, position = {"state": dict(state)}, None
    if iterator is not None:
      position = json.dumps(iterator.get_state(), indent=4)
      items["data"] = Position(position)
    custom = {**self._metadata, **(metadata or {}), "step": step}
    custom = sealed(custom, items["state"], position)
    self._saving = step
    try:
      self._checkpointer.save_checkpointables_async(
        step,
        items,
        force=True,
        metrics=dict(metrics) if metrics else None,
        custom_metadata=custom,
      )
    except _SAVE_ERRORS as error:
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
    self._sweep(step)
    self._pause = min(2**self._failures, _MOST_STEPS_BETWEEN_TRIES)
    self._failures += 1
    safe = ", ".join(map(str, self._steps())) or "none"
    _tell(
      f"{self._directory / str(step)}: this checkpoint could not be saved"
      f" ({problem}). Steps that are safe: {safe}."
    )
    return False

  def finish(self, step: int, state: Mapping[str, Any], iterator: Any) -> None:
    """Saves a step and waits until it is safe, with several tries.

    Raises:
      CheckpointError: It cannot be saved.
    """
    for pause in (*_PAUSES, 0):
      self.save(step, state, iterator)
      if self.settle() and step in self._steps():
        return
      time.sleep(pause)
    safe = self._steps()
    raise CheckpointError(
      f"{self._directory / str(step)}: could not be saved in"
      f" {len(_PAUSES) + 1} tries. Make room, or mend the disk; started again,"
      f" the run goes on from step {safe[-1] if safe else 0}."
    )

  def latest_step(self) -> int | None:
    """Returns the latest finished step, None if there is none."""
    self.settle()
    return max(self._steps(), default=None)

  def metadata(self, step: int | None = None) -> dict[str, Any]:
    """Reads a step's metadata.

    Args:
      step: Which step; None is the latest.

    Returns:
      The metadata given when it was saved, and "step".

    Raises:
      CheckpointError: There is no such step, or it is damaged.
    """
    return read_seal(self._folder(step)).metadata

  def restore(
    self, abstract_state: Mapping[str, Any], iterator: Any
  ) -> tuple[dict[str, Any], Any, dict[str, Any]] | None:
    """Loads everything of the latest whole step, to go on where it stopped.

    A damaged step is moved aside, to damaged-STEP, and told.

    Args:
      abstract_state: The state's structure as jax.ShapeDtypeStruct with
        shardings, which may be of another mesh than the saved one's.
      iterator: A new grain iterator over the same data; it is moved to the
        saved position. None: the position is not read.

    Returns:
      The state, the iterator, the metadata; None if no step is whole.

    Raises:
      CheckpointError: Another structure, dtype or shape; then every difference
        is listed.
    """
    items = {"state": dict(abstract_state)}
    if iterator is not None:
      items["data"] = Position()
    found = self._latest_whole(items)
    if found is None:
      return None
    _, loaded, seal = found
    if iterator is not None:
      iterator.set_state(json.loads(items["data"].text))
    return loaded["state"], iterator, seal.metadata

  def load_latest(
    self, abstract_trainable: Mapping[str, Any]
  ) -> tuple[int, dict[str, Any]] | None:
    """Loads the trained weights of the latest whole step.

    A damaged step is moved aside, to damaged-STEP; where the folder is read
    only, it is passed over. Either way it is told.

    Args:
      abstract_trainable: As for `load_trainable`.

    Returns:
      The step and the weights; None if no step is whole.

    Raises:
      CheckpointError: Other weights than wanted; all are listed.
    """
    items = {"state": {"trainable": abstract_trainable}}
    found = self._latest_whole(items, partial=True)
    return None if found is None else (found[0], found[1]["state"]["trainable"])

  def load_trainable(
    self, abstract_trainable: Mapping[str, Any], step: int | None = None
  ) -> dict[str, Any]:
    """Loads trained weights of one step.

    Args:
      abstract_trainable: Nested dict of jax.ShapeDtypeStruct with shardings on
        any mesh; a part of what was saved is enough.
      step: Which step; None is the latest.

    Returns:
      The same nested dict of arrays.

    Raises:
      CheckpointError: No such step, damage, or weights that are not in the
        checkpoint or have another dtype or shape; all are listed.
    """
    items = {"state": {"trainable": abstract_trainable}}
    loaded, _ = load(self._folder(step), items, partial=True)
    return loaded["state"]["trainable"]

  def close(self) -> None:
    """Waits, then frees the threads; the object is of no use after it."""
    if self._saving is not None and (problem := self._problem or self._wait()):
      _tell(
        f"{self._directory / str(self._saving)}: this checkpoint could not be"
        f" saved ({problem})."
      )
    self._checkpointer.close()

  def _steps(self) -> list[int]:
    """Finished steps in order; one that is being written is none."""
    steps = [c.step for c in self._checkpointer.checkpoints]
    return [step for step in steps if step != self._saving]

  def _folder(self, step: int | None) -> pathlib.Path:
    """The folder of an existing step; None is the latest."""
    self.settle()
    steps = self._steps()
    if not steps:
      raise CheckpointError(_NO_CHECKPOINT.format(self._directory))
    if step is not None and step not in steps:
      raise CheckpointError(
        f"{self._directory}: there is no checkpoint of step {step}; it has "
        f"{', '.join(map(str, steps))}."
      )
    return self._directory / str(steps[-1] if step is None else step)

  def _latest_whole(
    self, items: Mapping[str, Any], partial: bool = False
  ) -> tuple[int, dict[str, Any], Seal] | None:
    """Loads the latest step that every process finds whole."""
    self.settle()
    for step in reversed(self._steps()):
      problem = ""
      try:
        loaded, seal = load(self._directory / str(step), items, partial)
      except DamageError as error:
        problem = error.why
      if not (problem := processes.any_problem(problem)):
        return step, loaded, seal
      self._set_aside(step, problem)
    return None

  def _set_aside(self, step: int | str, why: str) -> None:
    """Moves a damaged step out of the way, or passes it over; and tells."""
    source = self._directory / str(step)
    words = f"{source}: this checkpoint is damaged ({why}); "
    if not self._read_only:
      target = checkpoint_aside.move(source)
      self._checkpointer.reload()
      words += f"it was moved to {target.name}, and "
    _tell(f"{words}the step before is used.")

  def _wait(self) -> str:
    """Waits for the save; returns why it failed, if it did."""
    try:
      self._checkpointer.wait()
    except _SAVE_ERRORS as error:
      return reason(error)
    return ""

  def _sweep(self, step: int) -> None:
    """Removes what a failed save left, which may be what fills the disk."""
    if jax.process_index() == 0:
      for path in self._directory.glob(f"{step}.orbax-checkpoint-tmp*"):
        shutil.rmtree(path, ignore_errors=True)
    processes.barrier(f"swept {self._directory / str(step)}")
    self._checkpointer.reload()  # it forgets steps that it meant to remove


def _tell(text: str) -> None:
  """Says something once."""
  if jax.process_index() == 0:
    print(text, file=sys.stderr, flush=True)
