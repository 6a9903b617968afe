"""What a checkpoint's metadata says about its arrays, to tell damage by.

A seal lists name, dtype, shape and checksum of every array, and is itself
sealed with a SHA-256: so a changed bit is found wherever it lies, and a shape
that was changed on the disk is not taken for another model's.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ltu_jax import checksum, tree_names

_KEY = "seal"


def sealed(
  metadata: Mapping[str, Any], state: Any, position: str | None
) -> dict[str, Any]:
  """Metadata with the seal of what is saved beside it.

  To be called by every process that holds a part of the state.

  Args:
    metadata: JSON values.
    state: Tree of jax.Array.
    position: The data position as text; None where there is none.
  """
  sums, flat = checksum.of_tree(state), tree_names.leaves(state)
  arrays = {k: [tree_names.signature(flat[k]), sums[k]] for k in flat}
  seal = {
    "arrays": arrays,
    "position": None if position is None else digest(position),
  }
  whole = {**metadata, _KEY: seal}
  return {**metadata, _KEY: {**seal, "digest": digest(whole)}}


class Seal:
  """The seal of a checkpoint, as read.

  Attributes:
    metadata: The metadata without it.
    arrays: name -> dtype and shape, such as float32[2,3].
  """

  def __init__(self, found: Any):
    """Opens what was read.

    Raises:
      ValueError: It is no sealed metadata, or its seal is broken.
    """
    try:
      seal = dict(found[_KEY])
      intact = seal.pop("digest") == digest({**found, _KEY: seal})
      self._sums = {k: v[1] for k, v in seal["arrays"].items()}
      self.arrays = {k: v[0] for k, v in seal["arrays"].items()}
      self._position = seal["position"]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
      raise ValueError("its metadata has no seal") from error
    if not intact:
      raise ValueError("its metadata is not what was saved")
    self.metadata = {k: v for k, v in found.items() if k != _KEY}

  def check_arrays(self, tree: Any) -> None:
    """Checks arrays that were loaded; all processes call it.

    Args:
      tree: Tree of jax.Array, or a part of what was saved.

    Raises:
      ValueError: Names those that are not what was saved.
    """
    wrong = checksum.different(self._sums, checksum.of_tree(tree))
    if wrong:
      more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
      names = ", ".join(wrong[:3])
      raise ValueError(f"{names}{more}: not the numbers that were saved")

  def check_position(self, text: str) -> None:
    """Checks the data position that was read.

    Raises:
      ValueError: It is not what was saved.
    """
    if self._position != digest(text):
      raise ValueError("the data position is not what was saved")


def digest(values: Any) -> str:
  """SHA-256 of JSON values, whatever the order of their keys."""
  text = json.dumps(values, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()
