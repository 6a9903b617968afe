"""WORKDIR/times: where the wall time of each start of a run went.

A file a start, times/MILLISECONDS.jsonl, of which nothing is ever taken back:
the time of steps that a later start makes again stays known. A line is

  {"time": 1795872498.4, "stage": 2, "step": 120,
   "seconds": {"steps": 4.9, "data": 0.1}}

and says what the time since the line before it was spent on, in that stage, and
how many of its steps were done at the end. The first line of a file has no
seconds. Read by goodput.py.
"""

import contextlib
import json
import os
import pathlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

FOLDER = "times"
"""Where the files are in a run's folder."""

KINDS = ("steps", "data", "compile", "startup", "save", "evaluate", "profile")
"""What time is spent on.

steps: training; data: the devices wait for a batch; compile: the first call of
a stage's step; startup: all that comes before the steps of a start or a stage;
save: what training waits for checkpoints; evaluate: sets, held-out questions,
the report; profile: starting and writing a trace.
"""

LINE_SECONDS = 5.0
"""A line is written after so many seconds, at the next step. A run that is
killed leaves at most so much, and the step in hand, unknown."""


def wall_clock() -> Callable[[], float]:
  """Unix time that goes on evenly, also where the system's clock is set."""
  offset = time.time() - time.monotonic()
  return lambda: offset + time.monotonic()


class Times:
  """The times of this start; every moment belongs to one kind."""

  def __init__(self, clock: Callable[[], float] | None = None):
    """Begins, with `startup`; nothing is written before `open`.

    Args:
      clock: Returns Unix time; for tests.
    """
    self._clock = clock or wall_clock()
    self._kind = "startup"
    self._since = self._line_since = self._clock()
    self._seconds: Counter[str] = Counter()
    self._stage: int | None = None
    self._step = 0
    self._file: int | None = None
    self._name = f"{round(1000 * self._since)}.jsonl"
    self._pending = self._text(self._since, {})

  def open(self, root: pathlib.Path) -> None:
    """Writes from now on; to be called where the folder is this run's own.

    A disk that cannot be written to ends no run: the lines wait for the next.
    """
    with contextlib.suppress(OSError):
      (root / FOLDER).mkdir(exist_ok=True)
      flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
      self._file = os.open(root / FOLDER / self._name, flags, 0o666)
    self._flush()

  @contextlib.contextmanager
  def spent(self, kind: str) -> Iterator[None]:
    """Counts the time of a `with` block as spent on one of KINDS."""
    before = self._turn(kind)
    try:
      yield
    finally:
      self._turn(before)

  def move(self, seconds: float, kind: str) -> None:
    """Takes seconds of what was just spent to the kind that is going on."""
    self._seconds[kind] -= seconds
    self._seconds[self._kind] += seconds

  def begin(self, stage: int) -> None:
    """What comes now belongs to a stage."""
    self._line()
    self._stage, self._step = stage, 0

  def at(self, step: int, now: bool = False) -> None:
    """So many steps of the stage are done.

    Args:
      step: Finished steps.
      now: Whether a line is to end here: at every step that a later start may
        go on from.
    """
    self._step = step
    if now or self._clock() - self._line_since >= LINE_SECONDS:
      self._line()

  def close(self) -> None:
    """Writes the last line."""
    self._line()
    if self._file is not None:
      os.close(self._file)
      self._file = None

  def _turn(self, kind: str) -> str:
    """Ends what is going on and begins another kind; returns the former."""
    now = self._clock()
    self._seconds[self._kind] += now - self._since
    before, self._kind, self._since = self._kind, kind, now
    return before

  def _line(self) -> None:
    """Ends a line here."""
    self._turn(self._kind)
    seconds = {k: round(self._seconds[k], 4) for k in KINDS}
    seconds = {k: v for k, v in seconds.items() if v}
    self._pending += self._text(self._since, seconds)
    self._seconds.clear()
    self._line_since = self._since
    self._flush()

  def _text(self, now: float, seconds: dict[str, float]) -> bytes:
    """A line."""
    line = {"time": round(now, 4), "stage": self._stage, "step": self._step}
    return (json.dumps(line | {"seconds": seconds}) + "\n").encode()

  def _flush(self) -> None:
    """Writes what waits, as far as the disk takes it."""
    if self._file is None:
      return
    with contextlib.suppress(OSError):
      while self._pending:
        self._pending = self._pending[os.write(self._file, self._pending) :]
