"""Checkpoints of a run: train state, data position and metadata, on Orbax v1.

A run saves what training changes; the frozen base is saved once (base.py). A
step is written to a temporary folder that is renamed when it is complete (in a
bucket, to its own, where a last object says so), so a killed save leaves
nothing that could be restored. What was damaged later is told by its seal
(checkpoint_seal.py), and the step before takes its place.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from ltu_jax import bucket_store, checkpoint_aside, processes
from ltu_jax.checkpoint_keep import Keep
from ltu_jax.checkpoint_position import Position
from ltu_jax.checkpoint_save import Saves, tell
from ltu_jax.checkpoint_seal import Seal
from ltu_jax.checkpoint_step import (
  CheckpointError,
  DamageError,
  load,
  read_seal,
)

_NO_CHECKPOINT = (
  "{0}: there is no finished checkpoint in this folder. Start training with "
  "this workdir to make one, or name the folder of a trained run."
)


class Checkpoints(Saves):
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
      directory: The folder, of this machine or in a bucket; each step is a
        folder in it.
      keep: Which steps stay; the last two by default.
      save_every: `due` at multiples of this; None for never.
      metadata: JSON values stored with every step, beneath those of `save`.
      read_only: Never makes, cleans or moves anything: for readers of a run
        that may still be writing.

    Raises:
      CheckpointError: read_only, and there is no such folder; or the folder
        cannot be made or read.
    """
    self._read_only = read_only
    folder = bucket_store.path(directory)
    if read_only and not folder.is_dir():
      raise CheckpointError(_NO_CHECKPOINT.format(folder))
    super().__init__(directory, keep, save_every, metadata, read_only)
    if not read_only:
      for name, why in checkpoint_aside.unsealed(self._directory).items():
        self._set_aside(name, why)

  def latest_step(self) -> int | None:
    """Returns the latest finished step, None if there is none."""
    self.settle()
    return max(self.steps(), default=None)

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
    self,
    abstract_state: Mapping[str, Any],
    iterator: Any,
    step: int | None = None,
  ) -> tuple[dict[str, Any], Any, dict[str, Any]] | None:
    """Loads everything of a step, to go on where it stopped.

    A damaged latest step is moved aside, to damaged-STEP, and told.

    Args:
      abstract_state: The state's structure as jax.ShapeDtypeStruct with
        shardings, which may be of another mesh than the saved one's.
      iterator: A new grain iterator over the same data; it is moved to the
        saved position. None: the position is not read.
      step: Which step; None is the latest whole one.

    Returns:
      The state, the iterator, the metadata; None if no step is whole.

    Raises:
      CheckpointError: Another structure, dtype or shape; then every difference
        is listed. Or the given step is not there, or damaged.
    """
    items = {"state": dict(abstract_state)}
    if iterator is not None:
      items["data"] = Position()
    if step is not None:
      found = (step, *load(self._folder(step), items))
    else:
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

  def _folder(self, step: int | None) -> pathlib.Path:
    """The folder of an existing step; None is the latest."""
    self.settle()
    steps = self.steps()
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
    for step in reversed(self.steps()):
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
    tell(f"{words}the step before is used.")
