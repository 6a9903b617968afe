"""Reading one checkpoint, DIRECTORY/STEP, and telling whether it is whole."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from ltu_jax import bucket_store, tree_names
from ltu_jax.checkpoint_position import Position
from ltu_jax.checkpoint_seal import Seal
from ltu_jax.data.bucket import is_bucket

READ_ERRORS = (KeyError, ValueError, OSError)
"""What Orbax raises for unreadable files, beside what a bucket's clients raise;
its NoEntryError is a KeyError."""

_NOT_NOW = (
  "PERMISSION_DENIED",
  "UNAUTHENTICATED",
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "RESOURCE_EXHAUSTED",
  "Forbidden",
)
"""In the words of TensorStore and gcsfs: the bucket did not answer, which says
nothing of what is in it."""


class CheckpointError(ValueError):
  """A checkpoint that is missing, damaged or of another model."""


class DamageError(CheckpointError):
  """A checkpoint that is not what was saved.

  Attributes:
    why: What is wrong, without the checkpoint's name.
  """

  def __init__(self, folder: pathlib.Path, why: Exception | str):
    """Says what is wrong with a checkpoint's folder."""
    self.why = reason(why)
    super().__init__(
      f"{folder}: this checkpoint is damaged ({self.why}). Remove this folder"
      " to go on from the step before."
    )


def read_seal(folder: pathlib.Path) -> Seal:
  """Reads a checkpoint's metadata and seal.

  Raises:
    DamageError: They cannot be read, or are not what was saved.
    CheckpointError: The permission to read them is missing.
  """
  try:
    # Orbax takes a link or a file for a checkpoint.
    if os.path.islink(folder) or not folder.is_dir():
      raise ValueError("it is no folder")
    return Seal(ocp.metadata(folder).custom_metadata)
  except (*READ_ERRORS, *bucket_store.errors()) as error:
    raise _unreadable(folder, error) from error


def load(
  folder: pathlib.Path, items: Mapping[str, Any], partial: bool = False
) -> tuple[dict[str, Any], Seal]:
  """Loads a checkpoint and checks that it is what was saved.

  Args:
    folder: The checkpoint.
    items: "state" -> tree of jax.ShapeDtypeStruct with shardings; "data" ->
      a `Position` that takes the saved one, if wanted.
    partial: Whether a part of the state is enough.

  Returns:
    What was loaded, and the seal.

  Raises:
    DamageError: It is not what was saved.
    CheckpointError: It is of another model; or cannot be read by this user.
  """
  seal = read_seal(folder)
  wanted = tree_names.signatures(items["state"])
  if rows := tree_names.differences(seal.arrays, wanted, partial=partial):
    raise CheckpointError(
      f"{folder}: this checkpoint is of another model or optimizer:\n{rows}"
    )
  context = ocp.Context()
  context.pytree.loading.partial_load = partial
  try:
    with context:
      loaded = ocp.load_checkpointables(folder, dict(items))
    seal.check_arrays(loaded["state"])
    if isinstance(items.get("data"), Position):
      seal.check_position(items["data"].text)
  except (*READ_ERRORS, *bucket_store.errors()) as error:
    raise _unreadable(folder, error) from error
  return loaded, seal


def check_state(state: Mapping[str, Any]) -> None:
  """Finds what could not be loaded again, before it is saved.

  Raises:
    CheckpointError: A key of the trainable weights is not a str, or a leaf of
      the state is no array.
  """
  if problem := tree_names.bad_key(state["trainable"], "trainable"):
    raise CheckpointError(problem)
  for name, leaf in tree_names.leaves(dict(state)).items():
    if not isinstance(leaf, jax.Array | np.ndarray):
      raise CheckpointError(
        f"{name} of the state is a {type(leaf).__name__}; only arrays can "
        "be saved."
      )


def _unreadable(folder: pathlib.Path, error: Exception) -> CheckpointError:
  """Tells damage from what ends no checkpoint: a missing permission, a line."""
  why = reason(error)
  if is_bucket(folder) and _is_not_now(error):
    return CheckpointError(
      f"{folder}: this checkpoint cannot be read now ({why}); see to it that"
      " the bucket may be read and answers, and start again"
    )
  if isinstance(error, PermissionError) or "PERMISSION_DENIED" in str(error):
    return CheckpointError(
      f"{folder}: this checkpoint cannot be read ({why}); give user"
      f" {os.getuid()} the permission"
    )
  return DamageError(folder, why)


def _is_not_now(error: BaseException | None) -> bool:
  """Whether a bucket's error, or what caused it, says nothing of a content."""
  while error is not None:
    if isinstance(error, bucket_store.errors()):
      return True
    if any(word in str(error) for word in _NOT_NOW):
      return True
    error = error.__cause__
  return False


def reason(why: Exception | str) -> str:
  """The first words of an error's own cause, on one line."""
  while isinstance(why, Exception) and why.__cause__ is not None:
    why = why.__cause__
  return " ".join(str(why).split())[:200]
