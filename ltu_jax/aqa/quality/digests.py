"""A map from 64-bit digests to small numbers, in few bytes a key."""

import array
import hashlib


def digest(*texts: str) -> int:
  """Returns 64 bits of texts; never 0."""
  hasher = hashlib.blake2b(digest_size=8)
  for text in texts:
    data = text.encode("utf-8", errors="surrogatepass")
    hasher.update(len(data).to_bytes(8, "little") + data)
  return int.from_bytes(hasher.digest(), "little") or 1


class DigestMap:
  """Numbers of 32 bits by digest: 12 bytes a slot, at most half of them used.

  A dict of Python takes about 100 bytes a key.
  """

  def __init__(self):
    """Makes an empty map."""
    self._count = 0
    self._allocate(1 << 10)

  def __len__(self) -> int:
    """Number of keys."""
    return self._count

  def get(self, key: int, default: int | None = None) -> int | None:
    """Returns the number of a key."""
    slot = self._slot(key)
    return self._values[slot] if self._keys[slot] else default

  def __contains__(self, key: int) -> bool:
    """Whether it was put."""
    return self._keys[self._slot(key)] != 0

  def put(self, key: int, value: int = 0) -> None:
    """Sets the number of a key.

    Args:
      key: Not 0, evenly spread.
      value: 0 to 2^32 - 1.
    """
    slot = self._slot(key)
    if not self._keys[slot]:
      self._count += 1
      self._keys[slot] = key
    self._values[slot] = value
    if 2 * self._count > len(self._keys):
      self._grow()

  def _slot(self, key: int) -> int:
    """The slot that has the key, or the empty one where it belongs."""
    keys, mask = self._keys, self._mask
    slot = key & mask
    while keys[slot] and keys[slot] != key:
      slot = (slot + 1) & mask
    return slot

  def _allocate(self, slots: int) -> None:
    """Makes empty slots, a power of two."""
    self._keys = array.array("Q", bytes(8 * slots))
    self._values = array.array("I", bytes(4 * slots))
    self._mask = slots - 1

  def _grow(self) -> None:
    """Doubles the slots."""
    keys, values = self._keys, self._values
    self._allocate(2 * len(keys))
    for key, value in zip(keys, values, strict=True):
      if key:
        slot = self._slot(key)
        self._keys[slot], self._values[slot] = key, value
