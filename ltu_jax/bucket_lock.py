"""The object of a lock: WORKDIR/lock where the run's folder is in a bucket.

A bucket has no locks of a kernel, so a holder is watched as one of another
machine is (workdir_lock.py). Each write is tied to the generation that was read
before it: of two that take a dead run's place at once, one succeeds.
"""

import contextlib
import errno
from collections.abc import Iterator
from typing import Any

from ltu_jax.bucket_store import BucketError, ChangedError, Store
from ltu_jax.lock_file import Kernel
from ltu_jax.lock_holder import Holder


class LockObject:
  """As `lock_file.LockFile`, in a bucket.

  Attributes:
    path: Its address.
  """

  def __init__(self, path: Any):
    """Finds the bucket.

    Args:
      path: The address of the object, an epath.Path.

    Raises:
      OSError: It cannot be used.
    """
    self.path = path
    with _as_os_error():
      self._store = Store(path.parent)
    self._generation = 0

  def lock(self) -> Kernel:
    """A bucket has no locks."""
    return Kernel.UNKNOWN

  def read(self) -> Holder | None:
    """Who stands in it; None if it is not there.

    Raises:
      OSError: It cannot be read.
      ValueError: Its content is of something else.
    """
    with _as_os_error():
      content, self._generation = self._store.read(self.path.name)
    return Holder.decode(content)

  def write(self, holder: Holder) -> None:
    """Writes it, unless somebody else did since it was read.

    Raises:
      OSError: It cannot be written.
    """
    # Who wrote is found at the next look.
    with _as_os_error(), contextlib.suppress(ChangedError):
      self._generation = self._store.write(
        self.path.name, holder.encode(), self._generation
      )

  def replace(self, holder: Holder) -> None:
    """As `write`."""
    self.write(holder)

  def clear(self) -> None:
    """Removes it, unless somebody else wrote since it was read.

    Raises:
      OSError: It cannot be removed.
    """
    with _as_os_error(), contextlib.suppress(ChangedError):
      self._store.remove(self.path.name, self._generation)

  def close(self) -> None:
    """Nothing is open."""


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
  """A bucket that fails is to the lock what a disk is that fails."""
  try:
    yield
  except BucketError as error:
    raise OSError(errno.EIO, str(error)) from error
