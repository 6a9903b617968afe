"""The file of a lock: an open file, the kernel's lock on it, its content."""

import contextlib
import enum
import errno
import fcntl
import os
import pathlib
import stat

from ltu_jax.lock_holder import LENGTH, Holder

_UNSUPPORTED = (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL)


class Kernel(enum.Enum):
  """What the kernel says when asked for its lock on a file."""

  OURS = "ours"
  TAKEN = "taken"
  UNKNOWN = "this disk has no locks"


class LockFile:
  """An open lock file; not for several threads at once.

  Attributes:
    path: The name, which may come to mean another file: `lock` follows it.
  """

  def __init__(self, path: pathlib.Path):
    """Opens the file; makes it and its folder if absent.

    Raises:
      OSError: It cannot be made, or not be written.
      ValueError: The name is something else's than a file's.
    """
    self.path = path
    path.parent.mkdir(parents=True, exist_ok=True)
    self._fd = _open(path)

  def lock(self) -> Kernel:
    """Asks for the kernel's lock on the file that has the name now.

    The lock is on the open file. Where the name was removed, or given to
    another file, that lock says nothing: then the file is made or opened again.

    Raises:
      OSError: The disk fails.
      ValueError: The name is something else's than a file's.
    """
    while True:
      kernel = _flock(self._fd)
      with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.stat(self.path), os.fstat(self._fd)):
          return kernel
      self._swap(_open(self.path))

  def read(self) -> Holder | None:
    """Who stands in the file that has the name; None if empty, or removed.

    Raises:
      OSError: It cannot be read.
      ValueError: Its content is of something else, or half written.
    """
    # Opened anew, as then a shared disk shows what other machines wrote.
    try:
      with self.path.open("rb") as file:
        return Holder.decode(file.read(LENGTH + 1))
    except FileNotFoundError:
      return None

  def write(self, holder: Holder) -> None:
    """Writes the content, in place.

    Raises:
      OSError: The disk is full, or fails.
    """
    try:
      _write(self._fd, holder)
    except OSError:
      # Half a content would be taken for something else's.
      if os.fstat(self._fd).st_size < LENGTH:
        self.clear()
      raise

  def replace(self, holder: Holder) -> None:
    """Gives the name to a new file, locked and written before.

    Raises:
      OSError: The disk is full, or fails.
    """
    fresh = self.path.with_name(f"{self.path.name}.{holder.token}")
    fd = _open(fresh)
    try:
      _flock(fd)
      _write(fd, holder)
      fresh.rename(self.path)
    except OSError:
      os.close(fd)
      fresh.unlink(missing_ok=True)
      raise
    self._swap(fd)

  def clear(self) -> None:
    """Takes the content away.

    Raises:
      OSError: The disk fails.
    """
    os.ftruncate(self._fd, 0)

  def close(self) -> None:
    """Closes the file, which gives the kernel's lock back."""
    os.close(self._fd)

  def _swap(self, fd: int) -> None:
    """Goes over to another open file."""
    self._fd, old = fd, self._fd
    os.close(old)


def _open(path: pathlib.Path) -> int:
  """Opens a file to read and write; makes it if absent."""
  # Not blocking: it may be a pipe that somebody put there.
  flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
  fd = os.open(path, flags, 0o666)
  if not stat.S_ISREG(os.fstat(fd).st_mode):
    os.close(fd)
    raise ValueError("not a file")
  return fd


def _flock(fd: int) -> Kernel:
  """Tries for the kernel's lock on an open file."""
  try:
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return Kernel.TAKEN
  except OSError as error:
    if error.errno in _UNSUPPORTED:
      return Kernel.UNKNOWN
    raise
  return Kernel.OURS


def _write(fd: int, holder: Holder) -> None:
  """Writes a whole content, in place, through to the disk."""
  content = holder.encode()
  if os.pwrite(fd, content, 0) < len(content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  os.fsync(fd)
