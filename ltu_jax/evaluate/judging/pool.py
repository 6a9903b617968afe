"""Threads that ask; they end with the process, whatever they wait for."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping

from ltu_jax.evaluate.judging.verdicts import Said

Outcome = tuple[str, Said | BaseException]
"""A key, and what was said, or why nothing was."""


class Pool:
  """Asks all of some pairs, several at once."""

  def __init__(
    self,
    new: Mapping[str, tuple[str, str]],
    ask: Callable[[str, str], Said],
    workers: int,
  ):
    """Starts the threads.

    Args:
      new: What to ask, by key.
      ask: Asks.
      workers: Threads at most.
    """
    self._ask = ask
    self._todo: queue.SimpleQueue = queue.SimpleQueue()
    self._done: queue.SimpleQueue = queue.SimpleQueue()
    self._open = len(new)
    for item in new.items():
      self._todo.put(item)
    for _ in range(min(workers, len(new))):
      threading.Thread(target=self._work, daemon=True).start()

  def outcomes(self) -> Iterator[Outcome]:
    """Yields them as they come, until all have."""
    while self._open:
      self._open -= 1
      yield self._done.get()

  def rest(self) -> Iterator[Outcome]:
    """Stops, and yields what has come meanwhile."""
    self.stop()
    while not self._done.empty():
      yield self._done.get()

  def stop(self) -> None:
    """Has nothing more be sent; what is under way still comes."""
    try:
      while True:
        self._todo.get_nowait()
        self._open -= 1
    except queue.Empty:
      pass

  def _work(self) -> None:
    """A thread."""
    while True:
      try:
        key, pair = self._todo.get_nowait()
      except queue.Empty:
        return
      try:
        self._done.put((key, self._ask(*pair)))
      except BaseException as error:  # else the caller would wait for ever
        self._done.put((key, error))
