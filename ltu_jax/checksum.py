"""Checksums of arrays that do not depend on how an array is cut up.

Each element's bits are mixed with its place in the array, and the mixed words
are added up modulo 2^32. So a sharded array gives the same number on any mesh,
computed where its shards lie, and NumPy gives it too. One changed element
always changes the sum, as the mixing can be undone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltu_jax import tree_names

# Two independent 32-bit sums make one 64-bit checksum. The multipliers are odd,
# so that multiplication can be undone; they are those of MurmurHash3's and
# xxHash's finalisers.
_MULTIPLIERS = ((0x85EBCA6B, 0xC2B2AE35), (0x9E3779B1, 0x27D4EB2F))

# Elements that NumPy mixes at a time, so that memory does not follow the array.
_BLOCK = 1 << 22


def of_tree(tree: Any) -> dict[str, str]:
  """Checksums of all arrays of a tree, computed on their devices.

  To be called by every process that holds a part of them.

  Args:
    tree: nested dicts, tuples or lists of jax.Array, also of keys.

  Returns:
    name (a/b/0/c) -> 16 hexadecimal digits.
  """
  flat = tree_names.leaves(tree)
  # One array at a time: most have the shape of others, so little is compiled;
  # and each is waited for, as the CPU's devices cannot sum many at once.
  return {name: _hexadecimal(np.asarray(_sums(x))) for name, x in flat.items()}


def of_array(array: np.ndarray) -> str:
  """The checksum of a NumPy array; see `of_tree`."""
  flat, sums = _host_bits(array).reshape(-1), [0, 0]
  for start in range(0, flat.size, _BLOCK):
    words = flat[start : start + _BLOCK].astype(np.uint32)
    place = np.arange(start, start + words.size, dtype=np.uint64)
    mixed = _mix(words, place.astype(np.uint32), np)
    sums = [a + int(b) for a, b in zip(sums, mixed, strict=True)]
  return _hexadecimal(total & 0xFFFFFFFF for total in sums)


def different(saved: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
  """Names whose checksums differ, of those in `found`."""
  return [name for name in found if saved.get(name) != found[name]]


def _hexadecimal(pair: Iterable[int]) -> str:
  """Two 32-bit sums as text."""
  return "".join(f"{int(word):08x}" for word in pair)


@jax.jit
def _sums(x: jax.Array) -> jax.Array:
  """Both sums of an array, uint32 [2]."""
  words = _words(x)
  return jnp.stack(_mix(words, _places(words.shape), jnp))


def _mix(words: Any, places: Any, xp: Any) -> list[Any]:
  """Both sums of words and their places, uint32; `xp` is NumPy or jax.numpy."""
  sums = []
  for first, second in _MULTIPLIERS:
    word = (words ^ (places * xp.uint32(first))) * xp.uint32(second)
    word = word ^ (word >> xp.uint32(15))
    sums.append(xp.sum(word * xp.uint32(first), dtype=xp.uint32))
  return sums


def _places(shape: Sequence[int]) -> jax.Array:
  """Each element's number in row-major order, modulo 2^32."""
  place, stride = jnp.zeros(shape, jnp.uint32), 1
  for axis in reversed(range(len(shape))):
    along = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    place = place + along * jnp.uint32(stride & 0xFFFFFFFF)
    stride *= shape[axis]
  return place


def _words(x: jax.Array) -> jax.Array:
  """The bits of each element, widened to 32."""
  if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
    return jax.random.key_data(x)
  if x.dtype == jnp.bool_ or jnp.issubdtype(x.dtype, jnp.integer):
    return x.astype(jnp.uint32)
  bits = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x.dtype.itemsize]
  return jax.lax.bitcast_convert_type(x, bits).astype(jnp.uint32)


def _host_bits(x: np.ndarray) -> np.ndarray:
  """The bits of each element, of a NumPy array (ml_dtypes' kinds too)."""
  narrow = x.dtype.itemsize < 8  # what JAX does not have is two words
  if narrow and (x.dtype == np.bool_ or np.issubdtype(x.dtype, np.integer)):
    return x
  bits = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint32}
  return np.ascontiguousarray(x).view(bits[x.dtype.itemsize])
