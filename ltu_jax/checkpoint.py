"""Checkpoints of a run: train state, data position and metadata, on Orbax v1.

A run saves what training changes; the frozen base is saved once (base.py). A
step is written to a temporary folder that is renamed when it is complete, so a
killed save leaves nothing that could be restored.
"""

import asyncio
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from ltu_jax import tree_names

_policies = ocp.training.save_decision_policies
_NO_CHECKPOINT = (
  "{0}: there is no finished checkpoint in this folder. Start training with "
  "this workdir to make one, or name the folder of a trained run."
)

READ_ERRORS = (KeyError, ValueError, OSError)
"""What Orbax raises for unreadable files; its NoEntryError is a KeyError."""


class CheckpointError(ValueError):
  """A checkpoint that is missing, damaged or of another model."""


class Checkpoints:
  """The checkpoints of one stage of a run: DIRECTORY/STEP, written async.

  A state is a dict {"trainable": nested dict of arrays with str keys, "opt":
  an optax state, "step": int32 scalar, "rng": a JAX key}. Leaves may be sharded
  in any way. All methods are to be called by every process, in the same order.
  """

  def __init__(
    self,
    directory: str | os.PathLike,
    *,
    keep: int = 2,
    save_every: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    read_only: bool = False,
  ):
    """Opens a folder of checkpoints, or makes it.

    Args:
      directory: The folder; each step is a folder in it.
      keep: How many of the latest steps stay.
      save_every: `save` writes at multiples of this; None writes only when
        forced. Either way it writes when the machine is about to be taken away.
      metadata: JSON values stored with every step, beneath those given to
        `save` (the stage, the config, path and hash of the base).
      read_only: Never makes or cleans the folder: for readers of a run that
        may still be writing.

    Raises:
      CheckpointError: read_only, and there is no such folder.
    """
    self._directory = pathlib.Path(directory).absolute()
    self._metadata = dict(metadata or {})
    if read_only and not self._directory.is_dir():
      raise CheckpointError(_NO_CHECKPOINT.format(self._directory))
    when = [_policies.PreemptionCheckpointingPolicy()]
    if save_every:
      when.append(_policies.FixedIntervalPolicy(save_every))
    self._checkpointer = ocp.training.Checkpointer(
      self._directory,
      save_decision_policy=_policies.AnySavePolicy(when),
      preservation_policy=ocp.training.preservation_policies.LatestN(keep),
      cleanup_tmp_directories=not read_only,
    )

  def __enter__(self) -> "Checkpoints":
    """Returns itself; leaving the block waits for unfinished saves."""
    return self

  def __exit__(self, *_: object) -> None:
    """Closes."""
    self.close()

  def save(
    self,
    step: int,
    state: Mapping[str, Any],
    iterator: Any,
    metadata: Mapping[str, Any] | None = None,
    force: bool = False,
  ) -> bool:
    """Starts to save a step, if it is due, and returns before it is written.

    The arrays are copied first, so the caller may donate them at once. A step
    that is already there is left as it is.

    Args:
      step: Number of finished optimizer steps. Step 0 is never due: it can be
        made again from the config.
      state: As in the class's docstring.
      iterator: The grain iterator; its position is saved. None: no position.
      metadata: JSON values for this step; they go over the ones of all steps.
      force: Save even if not due.

    Returns:
      Whether a save was started.

    Raises:
      CheckpointError: A key of the trainable weights is not a str, or a leaf
        of the state is no array.
    """
    if step in (c.step for c in self._checkpointer.checkpoints):
      return False
    due = step > 0 and self._checkpointer.should_save(step)
    if not (due or force):
      return False
    _check_keys(state["trainable"], "trainable")
    for name, leaf in tree_names.leaves(dict(state)).items():
      if not isinstance(leaf, jax.Array | np.ndarray):
        raise CheckpointError(
          f"{name} of the state is a {type(leaf).__name__}; only arrays can "
          "be saved."
        )
    items = {"state": dict(state)}
    if iterator is not None:
      items["data"] = _Position(iterator)
    custom = {**self._metadata, **(metadata or {}), "step": step}
    self._checkpointer.save_checkpointables_async(
      step, items, force=True, custom_metadata=custom
    )
    return True

  def latest_step(self) -> int | None:
    """Returns the latest finished step, None if there is none."""
    self.wait()
    latest = self._checkpointer.latest
    return None if latest is None else latest.step

  def metadata(self, step: int | None = None) -> dict[str, Any]:
    """Reads a step's metadata.

    Args:
      step: Which step; None is the latest.

    Returns:
      The metadata given when it was saved, and "step".

    Raises:
      CheckpointError: There is no such step, or it is damaged.
    """
    return dict(self._describe(self._resolve(step)).custom_metadata)

  def restore(
    self, abstract_state: Mapping[str, Any], iterator: Any
  ) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """Loads everything of the latest step, to go on where it stopped.

    Args:
      abstract_state: The state's structure as jax.ShapeDtypeStruct with
        shardings, which may be of another mesh than the saved one's.
      iterator: A new grain iterator over the same data; it is moved to the
        saved position. None: the position is not read.

    Returns:
      The state, the iterator, the metadata.

    Raises:
      CheckpointError: Nothing to restore, damage, or another structure, dtype
        or shape; then every difference is listed.
    """
    step = self._resolve(None)
    found = self._describe(step)
    self._compare(found.metadata, dict(abstract_state), step)
    items = {"state": dict(abstract_state)}
    if iterator is not None:
      items["data"] = _Position(iterator)
    loaded = self._load(step, items)
    return loaded["state"], iterator, dict(found.custom_metadata)

  def load_trainable(
    self, abstract_trainable: Mapping[str, Any], step: int | None = None
  ) -> dict[str, Any]:
    """Loads only trained weights: for the next stage, evaluation or asking.

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
    step = self._resolve(step)
    saved = self._describe(step).metadata["trainable"]
    self._compare(saved, abstract_trainable, step, partial=True)
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    with context:
      loaded = self._load(step, {"state": {"trainable": abstract_trainable}})
    return loaded["state"]["trainable"]

  def wait(self) -> None:
    """Waits until a started save is written."""
    self._checkpointer.wait()

  def close(self) -> None:
    """Waits, then frees the threads; the object is of no use after it."""
    self._checkpointer.close()

  def _resolve(self, step: int | None) -> int:
    """The number of an existing step; None is the latest."""
    self.wait()
    steps = [c.step for c in self._checkpointer.checkpoints]
    if not steps:
      raise CheckpointError(_NO_CHECKPOINT.format(self._directory))
    if step is not None and step not in steps:
      raise CheckpointError(
        f"{self._directory}: there is no checkpoint of step {step}; it has "
        f"{', '.join(map(str, steps))}."
      )
    return steps[-1] if step is None else step

  def _describe(self, step: int) -> Any:
    """Orbax's metadata of a step, checked to be readable."""
    try:
      found = self._checkpointer.metadata(step)
    except READ_ERRORS as error:
      raise self._damaged(step, error) from error
    if "step" not in (found.custom_metadata or {}):
      raise self._damaged(step, "its metadata cannot be read")
    if "trainable" not in (found.metadata or {}):
      raise self._damaged(step, "its state cannot be read")
    return found

  def _load(self, step: int, items: dict[str, Any]) -> dict[str, Any]:
    """Orbax's load with one clear error."""
    try:
      return self._checkpointer.load_checkpointables(step, items)
    except READ_ERRORS as error:
      raise self._damaged(step, error) from error

  def _damaged(self, step: int, why: Exception | str) -> CheckpointError:
    """The error for a step that cannot be read."""
    return CheckpointError(
      f"{self._directory / str(step)}: this checkpoint is damaged "
      f"({reason(why)}). Remove this folder to go on from the step before."
    )

  def _compare(
    self, saved: Any, wanted: Any, step: int, partial: bool = False
  ) -> None:
    """Raises with a table if the saved tree is not the wanted one."""
    rows = tree_names.differences(saved, wanted, partial=partial)
    if rows:
      raise CheckpointError(
        f"{self._directory / str(step)}: this checkpoint is of another model "
        f"or optimizer:\n{rows}"
      )


class _Position:
  """Where a data iterator stands, as Orbax saves and loads it.

  Grain's own way writes a file for each process, and reads it only with as many
  processes. Here every process stands at the same step, so one file is enough:
  the first process writes it, under the name that grain gives it with one.
  """

  _NAME = "process_0-of-1.json"

  def __init__(self, iterator: Any):
    self._iterator = iterator

  async def save(self, directory: Any) -> Any:
    """Takes the position now; returns what writes it."""
    text = json.dumps(self._iterator.get_state(), indent=4)

    async def write():
      folder = await directory.await_creation()
      if jax.process_index() == 0:
        await asyncio.to_thread((folder / self._NAME).write_text, text)

    return write()

  async def load(self, directory: Any) -> Any:
    """Returns what reads the position and moves the iterator there."""

    async def read():
      path = directory / self._NAME
      text = await asyncio.to_thread(path.read_text)
      self._iterator.set_state(json.loads(text))

    return read()


def reason(why: Exception | str) -> str:
  """The first words of an error's own cause, on one line."""
  while isinstance(why, Exception) and why.__cause__ is not None:
    why = why.__cause__
  return " ".join(str(why).split())[:200]


def _check_keys(tree: Any, name: str) -> None:
  """Raises CheckpointError unless a tree is nested dicts with str keys."""
  problem = tree_names.bad_key(tree, name)
  if problem:
    raise CheckpointError(problem)
