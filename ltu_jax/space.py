"""Whether a run's checkpoints will fit on the disk, before they are needed."""

import math
import pathlib
import shutil
from typing import Any

import jax

_MARGIN = 64 << 20
"""For metrics, reports and pictures."""


class SpaceError(ValueError):
  """A disk that is too small; the message has both numbers."""


def num_bytes(tree: Any) -> int:
  """Bytes of all arrays of a tree, or of their shapes."""
  return sum(
    math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree)
  )


def check(folder: pathlib.Path, needed: int, what: str) -> None:
  """Compares the free space of a folder's disk with what will be written.

  What lies in the folder counts as written before, and makes room when it is
  written again.

  Args:
    folder: the run's folder; it may be missing.
    needed: bytes that it will hold at most.
    what: what they are, for the error.

  Raises:
    SpaceError: they will not fit.
  """
  there = folder
  while not there.exists():
    there = there.parent
  free = shutil.disk_usage(there).free
  have = sum(
    p.stat().st_size
    for p in folder.rglob("*")
    if p.is_file() and not p.is_symlink()
  )
  if needed + _MARGIN > free + have:
    raise SpaceError(
      f"{folder}: {what} take up to {_show(needed)}, and"
      f" {_show(free)} are free; make room, choose another --workdir, or keep"
      " fewer checkpoints (config.keep_checkpoints, config.keep_best)"
    )


def _show(size: int) -> str:
  """Bytes in words."""
  unit = "GB" if size >= 1e9 else "MB"
  return f"{size / (1e9 if unit == 'GB' else 1e6):.1f} {unit}"
