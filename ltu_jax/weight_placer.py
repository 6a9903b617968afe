"""Puts weights onto a mesh as a model wants them: as they are, cast or rounded.

Layers are rounded to integers and written into their stack one after the other,
on the devices, so that neither they nor the host hold the floats of more than
some layers.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ltu_jax import base, tree_names
from ltu_jax.models import quantized

# Few waits for a small model, little memory for a large one.
_WAIT_BYTES = 256 << 20


def scale_name(path: str) -> str:
  """Name of the scales of a quantized weight."""
  return f"{path}_scale"


def layer_struct(
  struct: jax.ShapeDtypeStruct, layer: int | None
) -> jax.ShapeDtypeStruct:
  """Shape, dtype and NamedSharding of one layer; of all if `layer` is None."""
  if layer is None:
    return struct
  mesh, spec = struct.sharding.mesh, struct.sharding.spec
  sharding = NamedSharding(mesh, PartitionSpec(*spec[1:]))
  return jax.ShapeDtypeStruct(struct.shape[1:], struct.dtype, sharding=sharding)


class WeightPlacer:
  """The parameters so far; layers are written into their stack in place.

  Attributes:
    wanted: What the parameters are to be.
    arrays: Name -> parameter, of the wanted dtype, on the mesh.
  """

  def __init__(self, wanted: Mapping[str, jax.ShapeDtypeStruct]):
    """Takes what is wanted.

    Args:
      wanted: Name, such as `llama/layers/q_proj/w`, -> shape, dtype and
        NamedSharding. A weight that has scales beside it (`scale_name`) is
        rounded to integers, and they are made from it.
    """
    self.wanted = wanted
    self._num_bytes = 0
    self.arrays: dict[str, jax.Array] = {}

  def is_rounded(self, path: str) -> bool:
    """Whether a weight is wanted as integers."""
    return scale_name(path) in self.wanted

  def add(self, path: str, layer: int | None, array: jax.Array) -> None:
    """Puts a weight, or one layer of it, in its place.

    Args:
      path: Its name.
      layer: Which layer; None for a whole parameter.
      array: Floats of any dtype, on the mesh and cut as they are wanted.
    """
    if self.is_rounded(path):
      names = (path, scale_name(path))
      structs = [layer_struct(self.wanted[name], layer) for name in names]
      quantize = _quantizer(
        str(structs[0].dtype), tuple(struct.sharding for struct in structs)
      )
      for name, value in zip(names, quantize(array), strict=True):
        self._put(name, layer, value)
    else:
      self._put(path, layer, array)
    self._num_bytes += array.nbytes
    if self._num_bytes >= _WAIT_BYTES:
      self.wait()

  def add_from_host(
    self, path: str, layer: int | None, array: np.ndarray
  ) -> None:
    """Does the same with an array of the host, whole in every process."""
    struct = layer_struct(self.wanted[path], layer)
    placed = jax.make_array_from_callback(
      struct.shape, struct.sharding, lambda index: array[index]
    )
    self.add(path, layer, placed)

  def add_stacked(self, path: str, array: jax.Array) -> None:
    """Does the same with a whole parameter, of all layers if it has any."""
    if not self.is_rounded(path):
      self.add(path, None, array)
      return
    for layer, _ in base.layer_names(path, array.shape):
      one = array
      if layer is not None:
        struct = layer_struct(self.wanted[path], layer)
        one = _taker(struct.sharding)(array, layer)
      self.add(path, layer, one)

  def wait(self) -> None:
    """Waits until what was added is in its place and can be freed."""
    jax.block_until_ready(list(self.arrays.values()))
    self._num_bytes = 0

  def _put(self, name: str, layer: int | None, array: jax.Array) -> None:
    """Sets a parameter, or one layer of it."""
    struct = self.wanted[name]
    if layer is None:
      if array.dtype != struct.dtype:
        array = _caster(str(struct.dtype), struct.sharding)(array)
      self.arrays[name] = array
      return
    if name not in self.arrays:
      self.arrays[name] = _empty(struct.shape, struct.dtype, struct.sharding)
    put = _putter(struct.sharding)
    self.arrays[name] = put(self.arrays[name], array, layer)


def placed(
  arrays: Mapping[str, Any], wanted: Mapping[str, Any]
) -> dict[str, Any]:
  """Casts and rounds whole parameters that are on the mesh already.

  Args:
    arrays: Nested dict of floats. A parameter is freed when it is placed, if
      the caller does not hold it.
    wanted: Nested dict with a struct for each; see `WeightPlacer`.

  Returns:
    Nested dict of what was made from `arrays`.
  """
  flat = tree_names.leaves(arrays)
  del arrays
  placer = WeightPlacer(tree_names.leaves(wanted))
  while flat:
    placer.add_stacked(*flat.popitem())
  return tree_names.nested(placer.arrays)


def _empty(shape: tuple, dtype: Any, sharding: NamedSharding) -> jax.Array:
  """A stack to write layers into."""
  return jax.jit(lambda: jnp.zeros(shape, dtype), out_shardings=sharding)()


@functools.cache
def _putter(sharding: NamedSharding) -> Any:
  """Writes a layer into a stack of this sharding, in place and its dtype."""
  put = lambda stack, layer, index: jax.lax.dynamic_update_index_in_dim(
    stack, layer.astype(stack.dtype), index, 0
  )
  return jax.jit(put, donate_argnums=0, out_shardings=sharding)


@functools.cache
def _taker(sharding: NamedSharding) -> Any:
  """Takes a layer out of a stack."""
  take = lambda stack, index: jax.lax.dynamic_index_in_dim(
    stack, index, 0, keepdims=False
  )
  return jax.jit(take, out_shardings=sharding)


@functools.cache
def _caster(dtype: str, sharding: NamedSharding) -> Any:
  """Casts a parameter."""
  return jax.jit(lambda x: x.astype(dtype), out_shardings=sharding)


@functools.cache
def _quantizer(dtype: str, out_shardings: tuple[NamedSharding, ...]) -> Any:
  """Rounds weights to integers that lie so on the mesh."""
  quantize = functools.partial(quantized.quantize, dtype=dtype)
  return jax.jit(quantize, out_shardings=out_shardings)
