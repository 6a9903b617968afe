"""How far long work is, and how long it will take."""

import time
from collections.abc import Callable

from ltu_jax.metrics import duration

Tell = Callable[[str], None]
"""Takes a line on the progress."""

_TELL_SECONDS = 10.0

_MOST_TOLD = 5
"""Problems that are told; all stand in the result."""


class Progress:
  """Tells every few seconds how far something is, and how long it will take."""

  def __init__(
    self,
    name: str,
    total: int,
    done: int,
    tell: Tell,
    more: Callable[[], str] = lambda: "",
  ):
    """Begins now.

    Args:
      name: What is being done.
      total: Items of this process.
      done: Those that were done before.
      tell: Takes a line.
      more: Gives what else is to be told each time; may be "".
    """
    self._more = more
    self._name, self._total, self._tell = name, total, tell
    self._done = done
    self._told = time.monotonic()
    # When the first one ended: it may have waited for a compiler.
    self._first: float | None = None
    self._at_first = done
    self._problems = 0
    if done:
      tell(f"{name}: {done} of {total} were done before")

  def advance(self, problem: str = "", items: int = 1) -> None:
    """One item more has ended, or several.

    Args:
      problem: What is wrong with it.
      items: How many.
    """
    self._done += items
    if problem:
      self._problems += 1
      if self._problems <= _MOST_TOLD:
        self._tell(f"{self._name}: {problem}")
    now = time.monotonic()
    if self._first is None:
      self._first, self._at_first = now, self._done
    elif now - max(self._told, self._first) > _TELL_SECONDS:
      self._told = now
      rate = (self._done - self._at_first) / (now - self._first)
      left = (self._total - self._done) / rate
      line = (
        f"{self._name}: {self._done}/{self._total}, {rate:.2g} items/s, "
        f"{duration(left)} left"
      )
      self._tell(", ".join(filter(None, (line, self._more()))))

  def end(self) -> None:
    """Tells how many could not be asked."""
    if self._problems > _MOST_TOLD:
      self._tell(f"{self._name}: {self._problems} items in all have no answer")
