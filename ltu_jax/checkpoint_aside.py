"""Damaged checkpoints are moved out of the way, never removed."""

import itertools
import pathlib

import jax

from ltu_jax import bucket_store, processes
from ltu_jax.checkpoint_step import DamageError, read_seal
from ltu_jax.data.bucket import is_bucket

MARK = "commit_success.txt"
"""The object that Orbax writes last into a checkpoint in a bucket."""


def unsealed(directory: pathlib.Path) -> dict[str, str]:
  """What has the name of a step but is no whole checkpoint, and why.

  Raises:
    CheckpointError: One cannot be read by this user.
  """
  found = {}
  if is_bucket(directory):  # what lacks its last object, Orbax has removed
    paths = [mark.parent for mark in directory.glob(f"*/{MARK}")]
  else:
    paths = directory.iterdir()
  for path in sorted(paths):
    if path.name.isdigit():
      try:
        read_seal(path)
      except DamageError as error:
        found[path.name] = error.why
  processes.barrier(f"looked at {directory}")  # before anything is moved
  return found


def move(source: pathlib.Path) -> pathlib.Path:
  """Renames DIRECTORY/STEP to damaged-STEP, or to damaged-STEP.2 and so on.

  To be called by all processes.

  Raises:
    BucketError: The bucket fails.
  """
  taken = {path.name for path in source.parent.iterdir()}
  name = f"damaged-{source.name}"
  later = (f"{name}.{i}" for i in itertools.count(2))
  target = source.with_name(
    next(n for n in itertools.chain([name], later) if n not in taken)
  )
  processes.barrier(f"found {target}")
  if jax.process_index() == 0:
    if is_bucket(source):
      folder = bucket_store.Store(source.parent)
      folder.move(source.name, target.name, MARK)
    else:
      source.rename(target)
  processes.barrier(f"moved {target}")
  return target
