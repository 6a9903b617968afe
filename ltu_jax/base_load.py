"""Base weights from a folder onto a mesh, a layer of a matrix at a time.

Each process reads the chunks that its devices hold. Beside the result, some 256
MB of what was read are held, so that no host ever needs room for the model.
"""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from ltu_jax import base, checksum, tree_names
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.models import quantized

# Read at once: few calls for a small model, little memory for a large one.
_READ_BYTES = 256 << 20


def load(path: str | os.PathLike, target: Mapping[str, Any]) -> dict[str, Any]:
  """Loads a base's parameters onto the devices, stacked.

  A weight that the target has as integers is rounded to them on the devices.

  Args:
    path: A base folder.
    target: Nested dict of the parameters that are wanted, as
      jax.ShapeDtypeStruct with NamedShardings.

  Returns:
    The nested dict of arrays.

  Raises:
    CheckpointError: Nothing there, damage, or another structure, dtype or
      shape; then every difference is listed.
  """
  path = pathlib.Path(path).absolute()
  written = base.info(path).arrays
  wanted = tree_names.leaves(target)
  stored = base.stored_tree(path)
  pieces = list(_pieces(wanted, tree_names.leaves(stored)))
  tree = tree_names.nested({piece.name: piece.struct for piece in pieces})
  found = tree_names.signatures(stored)
  if written:
    said = {name: signature for name, (signature, _) in written.items()}
    if rows := tree_names.differences(found, said):
      raise base.damaged(path, f"it has other arrays than were stored: {rows}")
  rows = tree_names.differences(found, tree_names.signatures(tree))
  if rows:
    raise CheckpointError(f"{path}: these are another model's weights:\n{rows}")
  loaded = _Loaded(wanted)
  for some in _batches(pieces):
    tree = tree_names.nested({piece.name: piece.struct for piece in some})
    read = tree_names.leaves(base.read_tree(path, tree, partial=True))
    _check(path, read, written)
    for piece in some:
      loaded.add(piece, read.pop(piece.name))
    loaded.wait()
  return tree_names.nested({name: loaded.arrays[name] for name in wanted})


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
  wanted: Mapping[str, jax.ShapeDtypeStruct], stored: Mapping[str, Any]
) -> Iterator[_Piece]:
  """What has to be read for the wanted parameters."""
  scales = {_scale(path) for path in wanted}
  for path, struct in wanted.items():
    if path in scales:  # made from its weight
      continue
    for layer, name in base.layer_names(path, struct.shape):
      piece = struct if layer is None else _of_layer(struct)
      if _scale(path) in wanted and name in stored:
        piece = piece.update(dtype=stored[name].dtype)
      yield _Piece(path, layer, name, piece)


def _scale(path: str) -> str:
  """Name of the scales of a quantized weight."""
  return f"{path}_scale"


def _of_layer(struct: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
  """One layer of a stacked parameter."""
  mesh, spec = struct.sharding.mesh, struct.sharding.spec
  return jax.ShapeDtypeStruct(
    struct.shape[1:],
    struct.dtype,
    sharding=NamedSharding(mesh, PartitionSpec(*spec[1:])),
  )


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


class _Loaded:
  """The parameters so far; layers are written into their stack in place."""

  def __init__(self, wanted: Mapping[str, jax.ShapeDtypeStruct]):
    self._wanted = wanted
    self.arrays: dict[str, jax.Array] = {}

  def add(self, piece: _Piece, array: jax.Array) -> None:
    """Puts a stored array in its place."""
    if _scale(piece.path) not in self._wanted:
      self._put(piece.path, piece.layer, array)
      return
    names = (piece.path, _scale(piece.path))
    structs = [self._wanted[name] for name in names]
    if piece.layer is not None:
      structs = [_of_layer(struct) for struct in structs]
    quantize = _quantizer(
      str(structs[0].dtype), tuple(struct.sharding for struct in structs)
    )
    for name, value in zip(names, quantize(array), strict=True):
      self._put(name, piece.layer, value)

  def wait(self) -> None:
    """Waits until what was read is in its place and can be freed."""
    jax.block_until_ready(list(self.arrays.values()))

  def _put(self, name: str, layer: int | None, array: jax.Array) -> None:
    """Sets a parameter, or one layer of it."""
    if layer is None:
      self.arrays[name] = array
      return
    struct = self._wanted[name]
    if name not in self.arrays:
      self.arrays[name] = _empty(struct.shape, struct.dtype, struct.sharding)
    put = _putter(struct.sharding)
    self.arrays[name] = put(self.arrays[name], array, layer)


def _empty(shape: tuple, dtype: Any, sharding: NamedSharding) -> jax.Array:
  """A stack to write layers into."""
  return jax.jit(lambda: jnp.zeros(shape, dtype), out_shardings=sharding)()


@functools.cache
def _putter(sharding: NamedSharding) -> Any:
  """Writes a layer into a stack of this sharding, in place."""
  put = lambda stack, layer, index: jax.lax.dynamic_update_index_in_dim(
    stack, layer, index, 0
  )
  return jax.jit(put, donate_argnums=0, out_shardings=sharding)


@functools.cache
def _quantizer(dtype: str, out_shardings: tuple[NamedSharding, ...]) -> Any:
  """Rounds weights to integers that lie so on the mesh."""
  quantize = functools.partial(quantized.quantize, dtype=dtype)
  return jax.jit(quantize, out_shardings=out_shardings)
