"""One run at a time in a folder, by WORKDIR/lock.

Between processes of one machine the kernel's lock on the open file (flock)
decides; it falls away with the process, however that ends. It may not reach
other machines that share the disk. For them the content says who holds the
folder and counts up a beat: where the beat stands still, the run is dead. In a
bucket, which knows no machines and no kernels, that is all there is.

When a run ends, the file stays, empty: were it removed, one process could lock
the removed file and another a new one.
"""

import contextlib
import dataclasses
import os
import threading
import time
from typing import Self

from ltu_jax import bucket_store
from ltu_jax.bucket_lock import LockObject
from ltu_jax.data.bucket import is_bucket
from ltu_jax.lock_file import Kernel, LockFile
from ltu_jax.lock_holder import Holder

_JOIN_SECONDS = 10
"""How long the end of a run waits for a beat that is being written."""


class LockError(ValueError):
  """A folder that another run holds, or that cannot be locked."""


class WorkdirLock:
  """Holds a folder for this process; a context manager.

  Only what writes into the folder takes it: asking and evaluating do not.

  Attributes:
    path: The file of the lock.
  """

  def __init__(
    self,
    root: str | os.PathLike,
    *,
    beat_seconds: float = 15,
    watch_beats: int = 3,
    settle_seconds: float = 1,
    grace_seconds: float = 3,
  ):
    """Touches nothing yet.

    Args:
      root: The folder, of this machine or in a bucket; made if absent.
      beat_seconds: How often a holder shows that it lives.
      watch_beats: For how many of these another machine's holder is watched.
      settle_seconds: How long to wait, after taking over a lock that the kernel
        does not guard, for another process that did the same at this moment.
      grace_seconds: For how long a content that makes no sense may be one that
        is being written.
    """
    self.path = bucket_store.path(root) / "lock"
    self._open = LockObject if is_bucket(root) else LockFile
    self._beat_seconds = beat_seconds
    self._watch_seconds = beat_seconds * watch_beats
    self._settle_seconds, self._grace_seconds = settle_seconds, grace_seconds
    self._poll_seconds = min(beat_seconds / 5, 0.5)
    self._taken_by: Holder | None = None
    self._stop = threading.Event()

  def __enter__(self) -> Self:
    """Takes the lock; waits while another machine's holder is watched.

    Raises:
      LockError: Another run holds the folder, or it cannot be written.
    """
    self._me, self._taken_by = Holder.here(), None
    self._stop.clear()
    with contextlib.ExitStack() as undo:
      try:
        self._file = self._open(self.path)
        undo.callback(self._file.close)
        self._take()
      except OSError as error:
        raise LockError(
          f"{self.path}, which keeps a second run out of the folder, cannot be"
          f" written ({error.strerror}); see to it that the folder can be"
          " written and its disk has room, or choose another --workdir"
        ) from error
      except LockError:
        raise
      except ValueError as error:  # what has the name is no file
        raise self._unreadable() from error
      undo.pop_all()
    self._thread = threading.Thread(
      target=self._keep_beating, name="workdir lock", daemon=True
    )
    self._thread.start()
    return self

  def __exit__(self, *unused: object) -> None:
    """Gives the lock back, if it was not lost."""
    self._stop.set()
    self._thread.join(_JOIN_SECONDS)
    if self._thread.is_alive():
      return  # stuck in the disk: the end of the process frees the lock
    with contextlib.suppress(OSError, ValueError):
      found = None if self.lost else self._file.read()
      if found is not None and found.token == self._me.token:
        self._file.clear()
    self._file.close()

  @property
  def lost(self) -> bool:
    """Whether another run took the lock, say while this one was suspended."""
    return self._taken_by is not None

  def check(self) -> None:
    """Checks that the lock is still held; costs nothing.

    Raises:
      LockError: Another run took it.
    """
    if self._taken_by is not None:
      raise LockError(
        f"{self.path.parent} was taken over by {self._taken_by}: this run gave"
        " no sign of life for long, or its lock was removed. It stops here, as"
        " two runs would spoil each other's files."
      )

  def _take(self) -> None:
    """Waits until the lock may be taken, and takes it."""
    kernel, dead = self._wait()
    if kernel is Kernel.TAKEN:
      self._file.replace(self._me)
    else:
      self._file.write(self._me)
    if kernel is Kernel.UNKNOWN or (dead and not dead.is_same_machine):
      time.sleep(self._settle_seconds)
      self._beat()
      if self._taken_by is not None:
        raise self._refusal(str(self._taken_by))

  def _wait(self) -> tuple[Kernel, Holder | None]:
    """Waits until nobody alive holds the lock.

    Returns:
      What the kernel says, and the dead holder, if there is one.
    """
    watched, watch_start, sensible = None, 0.0, time.monotonic()
    while True:
      kernel, now = self._file.lock(), time.monotonic()
      in_grace = now - sensible < self._grace_seconds
      try:
        holder = self._file.read()
      except ValueError as error:
        if not in_grace:
          raise self._unreadable() from error
        time.sleep(self._poll_seconds)
        continue
      if kernel is not Kernel.TAKEN and holder is None:
        return kernel, None
      if holder is None or (holder.is_same_machine and kernel is Kernel.TAKEN):
        # It may have the kernel's lock and be about to write its name.
        if not in_grace or (holder is not None and holder.is_alive):
          raise self._refusal(str(holder or "a process without a name"))
      elif holder.is_same_machine and kernel is Kernel.OURS:
        self._say(f"was in use by {holder}; it died, and this run goes on")
        return kernel, holder
      elif watched is None:
        watched, watch_start = holder, now
        self._say(
          f"was in use by {holder}; looking whether it is alive"
          f" ({self._patience(kernel):g} s) ..."
        )
      elif holder != watched:
        raise self._refusal(str(holder))
      elif now - watch_start >= self._patience(kernel):
        self._say("no sign of life; this run goes on")
        return kernel, holder
      else:
        sensible = now
      time.sleep(self._poll_seconds)

  def _patience(self, kernel: Kernel) -> float:
    """For how long a beat must stand still.

    Longer if the kernel's lock is taken too: a process of this machine may be
    watching and was first, or a file server keeps the lock of a dead machine.
    """
    return self._watch_seconds * (2 if kernel is Kernel.TAKEN else 1)

  def _keep_beating(self) -> None:
    """Beats until the lock is given back, or lost."""
    # Soon at first: two machines may have taken a free lock at once.
    pause = min(self._settle_seconds, self._beat_seconds)
    while not self._stop.wait(pause) and not self.lost:
      pause = self._beat_seconds
      # A disk that is full, away or failing may recover.
      with contextlib.suppress(OSError, ValueError):
        self._beat()

  def _beat(self) -> None:
    """Looks whether the lock is still this process's, and counts up."""
    kernel = self._file.lock()
    try:
      found = self._file.read()
    except ValueError:  # overwritten by hand
      found = None
    if found is not None and found.token != self._me.token:
      self._taken_by = found
    elif kernel is not Kernel.TAKEN:
      self._me = dataclasses.replace(self._me, beat=self._me.beat + 1)
      self._file.write(self._me)

  def _say(self, what: str) -> None:
    """Prints a line on the folder."""
    print(f"{self.path.parent}: {what}", flush=True)

  def _refusal(self, holder: str) -> LockError:
    """The error that names who holds the folder."""
    return LockError(
      f"{self.path.parent} is in use by {holder}; two runs would spoil each"
      " other's files. Wait for it, stop it, or choose another --workdir; if"
      f" you are sure that it is dead, remove {self.path}"
    )

  def _unreadable(self) -> LockError:
    """The error of a name that is no lock."""
    return LockError(
      f"{self.path} is not the lock of a run, though it has its name; if"
      " nobody needs it and no run is in the folder, remove it"
    )
