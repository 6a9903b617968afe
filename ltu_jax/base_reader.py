"""Reading a base folder array by array, as an export does."""

import itertools
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ltu_jax import base, bucket_store, tree_names
from ltu_jax.models.ltu import STACKS

# Read together, and kept at most.
_BATCH_BYTES = 64 << 20
_KEEP_BYTES = 128 << 20


class BaseReader:
  """Reads the arrays of a base folder one at a time, to the host's memory.

  A call of Orbax costs more than a small array, so what follows in `shapes` is
  read along, and kept until it is asked for or gets too much.

  Attributes:
    shapes: Stored name -> jax.ShapeDtypeStruct of the array.
  """

  def __init__(self, path: str | os.PathLike):
    """Opens a folder; reads no weights.

    Raises:
      CheckpointError: Nothing there, or damage.
    """
    self._path = bucket_store.path(path)
    base.info(self._path)
    self._leaves = tree_names.leaves(base.stored_tree(self._path))
    self.shapes = {
      name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
      for name, leaf in sorted(self._leaves.items(), key=_by_layer)
    }
    self._ahead: dict[str, np.ndarray] = {}

  def read(self, name: str) -> np.ndarray:
    """Reads one array by its stored name.

    Raises:
      CheckpointError: Damage.
    """
    if name not in self._ahead:
      # Orbax gives numpy arrays where its own metadata is the target.
      tree = tree_names.nested({n: self._leaves[n] for n in self._batch(name)})
      found = tree_names.leaves(base.read_tree(self._path, tree, partial=True))
      while self._ahead and _nbytes(self._ahead) > _KEEP_BYTES:
        self._ahead.pop(next(iter(self._ahead)))
      self._ahead |= found
    return self._ahead.pop(name)

  def _batch(self, first: str) -> list[str]:
    """A name and those after it that make a call worth its while."""
    batch, size = [], 0
    for name in itertools.dropwhile(lambda n: n != first, self.shapes):
      size += _nbytes({name: self.shapes[name]})
      if batch and size > _BATCH_BYTES:
        break
      batch.append(name)
    return batch


def _by_layer(item: tuple[str, Any]) -> tuple[str, int, str]:
  """Sorts the arrays of a layer next to each other, layers by number."""
  name = item[0]
  for stack in STACKS:
    if name.startswith(stack):
      layer, _, rest = name.removeprefix(stack).partition("/")
      return stack, int(layer) if layer.isdecimal() else -1, rest
  return name, 0, ""


def _nbytes(arrays: Mapping[str, Any]) -> int:
  return sum(x.size * x.dtype.itemsize for x in arrays.values())
