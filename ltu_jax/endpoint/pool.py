"""Threads that ask; they end with the process, whatever they wait for."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from ltu_jax.endpoint.chat import Said

Item = TypeVar("Item")

_WAITING = 2
"""Items that are taken from the iterable for each thread, at most."""


class Pool(Generic[Item]):
  """Asks about all of some items, several at once.

  Attributes:
    is_held: Whether an item was not sent, as `may_send` never said yes.
  """

  def __init__(
    self,
    items: Iterable[tuple[str, Item]],
    ask: Callable[[Item], Said],
    workers: int,
    may_send: Callable[[Item], bool] = lambda _: True,
  ):
    """Starts the threads.

    Args:
      items: What to ask, with its key. Taken as threads come free.
      ask: Asks.
      workers: Threads at most.
      may_send: Whether an item may be sent now; if not, it is asked again when
        another has come back, and all ends when none is under way.
    """
    self.is_held = False
    self._items, self._ask, self._may_send = iter(items), ask, may_send
    self._next: tuple[str, Item] | None = None
    self._todo: queue.SimpleQueue = queue.SimpleQueue()
    self._done: queue.SimpleQueue = queue.SimpleQueue()
    self._open, self._workers, self._threads = 0, workers, 0

  def outcomes(self) -> Iterator[tuple[str, Item, Said | BaseException]]:
    """Yields what was said, or why nothing was, as it comes, until all has."""
    while True:
      self._fill()
      if not self._open:
        return
      self._open -= 1
      yield self._done.get()

  def rest(self) -> Iterator[tuple[str, Item, Said | BaseException]]:
    """Sends nothing more, and yields what has come meanwhile."""
    try:
      while True:
        self._todo.get_nowait()
    except queue.Empty:
      pass
    for _ in range(self._threads):
      self._todo.put(None)
    while not self._done.empty():
      yield self._done.get()

  def _fill(self) -> None:
    """Has the threads find something to do."""
    while self._open < _WAITING * self._workers:
      if self._next is None:
        self._next = next(self._items, None)
      self.is_held = self._next is not None and not self._may_send(
        self._next[1]
      )
      if self._next is None or self.is_held:
        return
      self._todo.put(self._next)
      self._next = None
      self._open += 1
      if self._threads < min(self._open, self._workers):
        self._threads += 1
        threading.Thread(target=self._work, daemon=True).start()

  def _work(self) -> None:
    """A thread."""
    while (todo := self._todo.get()) is not None:
      key, item = todo
      try:
        self._done.put((key, item, self._ask(item)))
      except BaseException as error:  # else the caller would wait for ever
        self._done.put((key, item, error))
