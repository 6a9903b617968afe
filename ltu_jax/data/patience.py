"""Reads batches with patience that ends: a reader that stalls is noticed."""

import contextlib
import dataclasses
import faulthandler
import io
import itertools
import os
import pathlib
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol, Self, TypeVar

from ltu_jax.bucket_scratch import shown

T = TypeVar("T", covariant=True)

_LOOK_SECONDS = 1.0
"""A signal that comes just as the main thread begins to wait does not wake it;
it is handled at the next look."""


class StalledError(ValueError):
  """No batch came for too long; says where the stacks are."""


class WorkerError(ValueError):
  """A thread that reads wanted to end the process."""


class Source(Protocol[T]):
  """What `Patient` reads: an iterator of grain, or one like it."""

  def __next__(self) -> T:
    """The next batch."""
    ...

  def get_state(self) -> dict[str, Any]:
    """The position."""
    ...

  def set_state(self, state: dict[str, Any]) -> None:
    """Moves to a position."""
    ...


class Patient(Iterator[T]):
  """An iterator whose `next` waits for the inner one, but not for ever.

  The inner `next` runs in a thread of its own, one call for each call here:
  nothing is read ahead, and the position is that of plain use. What it raises
  is raised here. Signals are handled while it waits.

  A reader that is stuck can also keep Python from ending, as grain's threads
  are waited for then: after a `StalledError` a program ends with `leave`.
  """

  def __init__(
    self,
    inner: Source[T],
    what: str | Callable[[], str],
    folder: str | os.PathLike,
    *,
    stall_seconds: float = 300,
    give_up_seconds: float = 1800,
  ):
    """Starts the thread; reads nothing yet.

    Args:
      inner: The iterator.
      what: Who waits, for the messages, such as "stage 2, step 17".
      folder: Where the stacks are written, the run's folder.
      stall_seconds: After how long without a batch that is told.
      give_up_seconds: After how long it is an error.
    """
    self._inner, self._folder = inner, pathlib.Path(folder)
    self._what = what if callable(what) else lambda: what
    self._stall_seconds = min(stall_seconds, give_up_seconds)
    self._give_up_seconds = give_up_seconds
    self._call: _Call | None = None
    calls: queue.SimpleQueue = queue.SimpleQueue()
    self._ask = calls.put
    threading.Thread(
      target=_serve, args=(inner, calls), name="patient reader", daemon=True
    ).start()
    # The thread does not know this object, and ends with it.
    weakref.finalize(self, calls.put, None)

  def __iter__(self) -> Self:
    """Itself."""
    return self

  def __next__(self) -> T:
    """The inner iterator's next batch.

    After a `StalledError`, or if a signal's handler raised, a further call
    waits for the batch that is still being read.

    Raises:
      StalledError: None came in time.
      WorkerError: A thread of the reader raised what ends a process.
      StopIteration: There is no further batch.
    """
    if self._call is None:
      call = _Call(self._inner.get_state())
      self._ask(call)
      self._call = call
    self._wait(self._call.done)
    call, self._call = self._call, None
    if call.error is None:
      return call.batch
    try:
      if isinstance(call.error, Exception):
        raise call.error
      raise WorkerError(
        f"{self._what()}: a thread that reads the data ended with"
        f" {call.error!r}; started again, the run goes on from its last"
        " checkpoint"
      ) from call.error
    finally:
      del call  # its traceback holds this frame

  def get_state(self) -> dict[str, Any]:
    """The position after the last batch that was returned."""
    call = self._call
    return self._inner.get_state() if call is None else call.before

  def set_state(self, state: dict[str, Any]) -> None:
    """Moves the inner iterator to a position.

    Raises:
      StalledError: It is still reading, as the last `next` was given up.
    """
    if self._call is not None:
      raise StalledError(
        f"{self._what()}: the position cannot be set while a batch is read"
      )
    self._inner.set_state(state)

  def _wait(self, done: threading.Event) -> None:
    """Waits for the end of a call."""
    start = time.monotonic()
    if _comes(done, self._stall_seconds):
      return
    stacks = self._write_stacks()
    self._say(
      f"no batch for {self._stall_seconds:g} s; {stacks}; waiting on, at most"
      f" {self._give_up_seconds:g} s"
    )
    if not _comes(done, start + self._give_up_seconds - time.monotonic()):
      raise StalledError(
        f"{self._what()}: no batch for {self._give_up_seconds:g} s, the reading"
        f" of the data is stuck; {stacks}. Started again, the run goes on from"
        " its last checkpoint."
      )
    self._say(f"the batch came after {time.monotonic() - start:.0f} s")

  def _write_stacks(self) -> str:
    """Writes what all threads are doing; says where it is."""
    name = time.strftime("stalled-%Y%m%dT%H%M%SZ", time.gmtime())
    for number in itertools.count():
      path = self._folder / f"{name}{f'-{number}' if number else ''}.txt"
      try:
        with path.open("x") as file:
          faulthandler.dump_traceback(file=file, all_threads=True)
      except FileExistsError:  # another process stalled at the same second
        continue
      except OSError as error:
        with contextlib.suppress(OSError, io.UnsupportedOperation):
          faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)
        return (
          "the stacks of all threads are on the standard error, as"
          f" {shown(path)} cannot be written ({error.strerror})"
        )
      return f"the stacks of all threads are in {shown(path)}"

  def _say(self, what: str) -> None:
    """Prints a line to the standard error."""
    print(f"{self._what()}: {what}", file=sys.stderr, flush=True)


def leave(status: int) -> NoReturn:
  """Ends the process at once, though a reader is stuck.

  Python's own end waits for the threads of grain's pool, stuck ones too. What
  was printed is written out; functions registered with atexit do not run.

  Args:
    status: The exit status.
  """
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):  # a broken pipe, or closed
      stream.flush()
  os._exit(status)


@dataclasses.dataclass(eq=False)
class _Call:
  """A call of the inner `next`.

  Attributes:
    before: The position before it.
    done: Set when one of the others is.
    batch: What it returned.
    error: What it raised.
  """

  before: dict[str, Any]
  done: threading.Event = dataclasses.field(default_factory=threading.Event)
  batch: Any = None
  error: BaseException | None = None


def _comes(done: threading.Event, seconds: float) -> bool:
  """Waits for an event, so many seconds; returns whether it came."""
  end = time.monotonic() + seconds
  while (left := end - time.monotonic()) > 0:
    if done.wait(min(left, _LOOK_SECONDS)):
      return True
  return done.is_set()


def _serve(inner: Source, calls: queue.SimpleQueue) -> None:
  """Makes the calls, one after the other; ends at None."""
  while (call := calls.get()) is not None:
    try:
      call.batch = next(inner)
    # All of them: whoever waits must hear of it, or would wait for ever.
    except BaseException as error:
      call.error = error
    call.done.set()
    del call  # a batch is large
