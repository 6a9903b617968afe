"""Ending a run on request: signals, and the notice before a preemption.

The first request lets the step in hand end and be saved; the second ends the
process at once. Where no step is in hand there is nothing to save, and the
first one ends the run too.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from ltu_jax import preemption

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(Exception):
  """A run that has ended on request; the message says where it stands."""


class Stop:
  """Whether the run is to end, and since when.

  Attributes:
    reason: what asked for it, such as SIGTERM; "" if nothing did.
  """

  def __init__(self):
    """Nothing asked yet."""
    self.reason = ""
    self._since = 0.0
    self._notice = ""
    self._noticed = False
    self._in_hand = False

  @contextlib.contextmanager
  def listening(self) -> Iterator[None]:
    """Takes SIGTERM, SIGINT, SIGHUP and preemption notices in a `with` block.

    A signal that is ignored, as SIGHUP is under nohup, stays so. Only the main
    thread can listen; elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
      yield
      return
    before = {s: signal.getsignal(s) for s in _SIGNALS}
    taken = [s for s in _SIGNALS if before[s] is not signal.SIG_IGN]
    for number in taken:
      signal.signal(number, self._take)
    watcher = preemption.start(self._notify)
    try:
      yield
    finally:
      if watcher is not None:
        watcher.close()
      for number in taken:
        # None: the handler was not made by Python.
        signal.signal(number, before[number] or signal.SIG_DFL)

  @contextlib.contextmanager
  def step_in_hand(self) -> Iterator[None]:
    """In this `with` block a request is only noted, in `reason`."""
    self._in_hand = True
    try:
      yield
    finally:
      self._in_hand = False

  def seconds(self) -> float:
    """Seconds since the request; 0 where it came to another process."""
    return time.monotonic() - self._since if self.reason else 0.0

  def _notify(self, reason: str) -> None:
    """Takes a preemption notice, in its thread, into the main one."""
    self._notice = reason
    os.kill(os.getpid(), signal.SIGTERM)

  def _take(self, number: int, frame: FrameType | None) -> None:
    """The signals' handler."""
    del frame
    name = signal.Signals(number).name
    notice, self._notice = self._notice, ""
    if self.reason:
      # A notice and the SIGTERM of the system's own shutdown are one request.
      twice = not notice and not (self._noticed and name == "SIGTERM")
      self._noticed = False
      if twice:
        _write(f"{name} again: ended at once; what was saved before is safe")
        os._exit(128 + number)
      return
    self._noticed = bool(notice)
    self.reason, self._since = notice or name, time.monotonic()
    if not self._in_hand:
      raise Stopped(
        f"{self.reason}: stopped between steps; all that was finished is saved"
      )
    _write(
      f"{self.reason}: finishing the step and saving; once more ends it at once"
    )


def _write(text: str) -> None:
  """Writes a line from a signal's handler, where print may not be used."""
  os.write(sys.__stderr__.fileno(), (text + "\n").encode())
