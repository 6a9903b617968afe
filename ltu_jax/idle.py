"""How much of a wait for data the devices really stood still.

The host gives the devices a step and waits for the next batch while they work:
only what is left of the wait when they are done is lost.
"""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

_LOOK_SECONDS = 0.002
"""How often is looked whether the devices are done: far below a step."""


class Result(Protocol):
  """A result of a step, as a jax.Array is."""

  def is_ready(self) -> bool:
    """Whether it is computed."""
    ...


@dataclasses.dataclass
class Wait:
  """A wait that is over.

  Attributes:
    seconds: of the wait.
    idle: of these, without work for the devices.
  """

  seconds: float = 0.0
  idle: float = 0.0


@contextlib.contextmanager
def wait(
  result: Result | None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Wait]:
  """Measures a `with` block in which the host waits.

  Args:
    result: of the step that the devices are at; None if they are at none.
    clock: returns seconds; for tests.

  Yields:
    What is filled in at the end.
  """
  found, over = Wait(), threading.Event()
  start = clock()
  free = [start]  # since when the devices are free; empty while they are not
  watcher = None

  def watch():
    while not result.is_ready():
      if over.wait(_LOOK_SECONDS):
        return
    free.append(clock())

  if result is not None and not result.is_ready():
    free.clear()
    watcher = threading.Thread(target=watch, name="idle watcher", daemon=True)
    watcher.start()
  try:
    yield found
  finally:
    end = clock()
    over.set()
    if watcher is not None:
      watcher.join()
    found.seconds = end - start
    found.idle = max(0.0, end - free[0]) if free else 0.0
