"""Base weights from a folder onto a mesh, a layer of a matrix at a time.

Each process reads the chunks that its devices hold. Beside the result, some 256
MB of what was read are held, so that no host ever needs room for the model.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from ltu_jax import base, bucket_store, checksum, tree_names
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.weight_placer import WeightPlacer, layer_struct, scale_name

# Read at once: few calls for a small model, little memory for a large one.
_READ_BYTES = 256 << 20


def load(
  path: str | os.PathLike, target: Mapping[str, Any], cast: bool = False
) -> dict[str, Any]:
  """Loads a base's parameters onto the devices, stacked.

  A weight that the target has as integers is rounded to them on the devices.

  Args:
    path: A base folder.
    target: Nested dict of the parameters that are wanted, as
      jax.ShapeDtypeStruct with NamedShardings.
    cast: Whether weights of other dtypes are cast to those of `target`;
      otherwise they are another model's.

  Returns:
    The nested dict of arrays.

  Raises:
    CheckpointError: Nothing there, damage, or another structure, dtype or
      shape; then every difference is listed.
  """
  path = bucket_store.path(path)
  written = base.info(path).arrays
  wanted = tree_names.leaves(target)
  stored = base.stored_tree(path)
  pieces = list(_pieces(wanted, tree_names.leaves(stored), cast))
  tree = tree_names.nested({piece.name: piece.struct for piece in pieces})
  found = tree_names.signatures(stored)
  if written:
    said = {name: signature for name, (signature, _) in written.items()}
    if rows := tree_names.differences(found, said):
      raise base.damaged(path, f"it has other arrays than were stored: {rows}")
  rows = tree_names.differences(found, tree_names.signatures(tree))
  if rows:
    raise CheckpointError(f"{path}: these are another model's weights:\n{rows}")
  placer = WeightPlacer(wanted)
  for some in _batches(pieces):
    tree = tree_names.nested({piece.name: piece.struct for piece in some})
    read = tree_names.leaves(base.read_tree(path, tree, partial=True))
    _check(path, read, written)
    for piece in some:
      placer.add(piece.path, piece.layer, read.pop(piece.name))
    placer.wait()
  return tree_names.nested({name: placer.arrays[name] for name in wanted})


def _check(
  path: pathlib.Path,
  read: Mapping[str, jax.Array],
  written: Mapping[str, tuple[str, str]],
) -> None:
  """Raises CheckpointError if what was read is not what was stored."""
  known = {name: array for name, array in read.items() if name in written}
  sums = {name: written[name][1] for name in known}
  if wrong := checksum.different(sums, checksum.of_tree(known)):
    raise base.damaged(path, f"{', '.join(wrong[:3])}: not the numbers stored")


@dataclasses.dataclass(frozen=True)
class _Piece:
  """One stored array.

  Attributes:
    path: The parameter that it is, or is a layer of.
    layer: Which layer; None for a whole parameter.
    name: Its stored name.
    struct: Shape, stored dtype, and sharding on the mesh.
  """

  path: str
  layer: int | None
  name: str
  struct: jax.ShapeDtypeStruct


def _pieces(
  wanted: Mapping[str, jax.ShapeDtypeStruct],
  stored: Mapping[str, Any],
  cast: bool,
) -> Iterator[_Piece]:
  """What has to be read for the wanted parameters."""
  scales = {scale_name(path) for path in wanted}
  for path, struct in wanted.items():
    if path in scales:  # made from its weight
      continue
    for layer, name in base.layer_names(path, struct.shape):
      piece = layer_struct(struct, layer)
      if name in stored and (cast or scale_name(path) in wanted):
        piece = piece.update(dtype=stored[name].dtype)
      yield _Piece(path, layer, name, piece)


def _batches(pieces: list[_Piece]) -> list[list[_Piece]]:
  """Pieces that are read together."""
  batches, size = [[]], 0
  for piece in pieces:
    num_bytes = math.prod(piece.struct.shape) * piece.struct.dtype.itemsize
    if batches[-1] and size + num_bytes > _READ_BYTES:
      batches.append([])
      size = 0
    batches[-1].append(piece)
    size += num_bytes
  return batches
