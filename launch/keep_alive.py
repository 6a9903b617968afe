"""Keeps a run going: new machines for lost ones, new starts for crashed ones.

The run's own folder says how far it was (docs/reliability.md), so that each new
start is the same command.
"""

import dataclasses
import time
from collections.abc import Callable

from launch.gcloud import GcloudError, tell
from launch.machine import Machine, MachineError, State
from launch.run import Run, Seen

_PATIENCE = 10
"""Looks in a row at which a worker may be silent, or one may have ended while
others go on (they end within a minute), before something is done about it."""

_LEAVING_LOOKS = 5
"""Looks that a machine whose run was stopped may take to show that it goes."""

_LONG_RUN = 3600
"""Seconds after which a failure is not counted with those before."""

_USER_ERROR = 2
"""ltu_jax.main's status for what a new start would not mend; after a long
run it may, as it is also that of data that did not come."""


class RunError(Exception):
  """A run that is not started again; the message says why."""


@dataclasses.dataclass(frozen=True)
class Patience:
  """How long to wait and how often to try.

  Attributes:
    poll: Seconds between two looks.
    first: Seconds after the first failure; doubled by each in a row.
    longest: The most seconds between two tries.
    failures: How many failures in a row end it.
  """

  poll: float = 30
  first: float = 30
  longest: float = 900
  failures: int = 5

  def seconds(self, failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(self.first * 2 ** (failures - 1), self.longest)


class KeepAlive:
  """Looks after one run."""

  def __init__(
    self,
    machine: Machine,
    run: Run,
    prepare: Callable[[], None],
    start: Callable[[], None],
    *,
    patience: Patience,
    sleep: Callable[[float], None] = time.sleep,
  ):
    """Keeps how to look and what to do.

    Args:
      machine: Where it runs.
      run: The run.
      prepare: Makes a fresh machine able to run it.
      start: Starts it; does nothing where it runs.
      patience: The times.
      sleep: How to wait.
    """
    self._machine, self._run = machine, run
    self._prepare, self._start = prepare, start
    self._patience, self._sleep = patience, sleep
    self._failures, self._began = 0, 0.0
    self._prepared = False

  def __call__(self) -> None:
    """Returns when the run has finished, or was ended with `stop`.

    Raises:
      RunError: It failed too often, or in a way that stays.
      GcloudError: Google refuses, and will again.
    """
    while True:
      self._began = time.monotonic()
      how, seen = self._once()
      was_long = time.monotonic() - self._began > _LONG_RUN
      if was_long:
        self._failures = 0
      if how == "finished":
        tell("the run has finished")
        return
      if how == "stopped" and seen.stop_asked:
        tell("the run was stopped with `stop`; it is not started again")
        return
      if how == "stopped":
        self._leaves()
      elif how == "failed" and _USER_ERROR in seen.statuses and not was_long:
        raise RunError(
          f"the run ended with an error that a new start does not mend:"
          f" {seen.last} (`logs` has all of it)"
        )
      elif how not in ("gone", "again"):
        self._failed(how, seen.last or seen.problem)

  def _once(self) -> tuple[str, Seen]:
    """One start, until something has happened; says what."""
    had_machine = False
    try:
      self._have_machine()
      had_machine = True
      self._begin()
      return self._watch()
    except MachineError as error:
      return "failed", Seen(problem=str(error))
    except GcloudError as error:
      # A machine that goes away breaks whatever is done on it.
      broken = error.kind == "absent" and had_machine
      if broken or error.kind in ("", "ssh", "network"):
        if not self._state().is_ready() and had_machine:
          return "gone", Seen()
        how = "again" if error.kind == "network" else "failed"
        return how, Seen(problem=str(error))
      if error.kind != "capacity":
        raise
      tell(str(error))
      self._wait(self._patience.longest)
      return "gone", Seen()

  def _have_machine(self) -> None:
    """Makes a machine, if need be in place of a lost one."""
    state = self._state()
    if state.is_there() and not (state.is_ready() or state.is_coming()):
      tell(f"{state}: deleting it, for a new one")
      self._machine.delete()
    if not state.is_ready():
      self._prepared = False
    self._machine.create()

  def _begin(self) -> None:
    """Starts the run, unless it runs."""
    state = self._state()
    how = self._run.seen(loud=False).how(state.workers)
    if how == "running":
      tell("the run is going on; watching it")
    elif not self._prepared:
      self._prepare()
    self._prepared = True
    self._start()
    self._began = time.monotonic()

  def _watch(self) -> tuple[str, Seen]:
    """Looks until the run or the machine has ended."""
    odd, told = 0, ""
    while True:
      self._sleep(self._patience.poll)
      state = self._state()
      if not state.is_ready():
        tell(f"the machine is lost: {state}")
        return "gone", Seen()
      seen = self._run.seen(loud=False)
      how = seen.how(state.workers)
      if seen.last and seen.last != told:
        told = seen.last
        tell(f"{how}: {told}")
      if how == "running":
        odd = 0
        continue
      if how not in ("breaking", "unreachable"):
        return how, seen
      odd += 1
      if odd < _PATIENCE:
        continue
      if how == "unreachable":
        tell(f"workers do not answer: {seen.problem}; a new machine is made")
        self._machine.delete()
      else:
        self._run.stop(60)
      return "failed", seen

  def _leaves(self) -> None:
    """Waits for the machine of a run that was stopped to go away."""
    tell("the run was stopped, not by `stop`: its machine seems to go away")
    for _ in range(_LEAVING_LOOKS):
      if not self._state().is_ready():
        return
      self._wait(self._patience.poll)
    tell("the machine has stayed; starting again on it")

  def _state(self) -> State:
    """The machine's state, however long there is no way to Google."""
    tries = 0
    while True:
      try:
        return self._machine.state(loud=False)
      except GcloudError as error:
        if error.kind != "network":
          raise
        tries += 1
        tell(str(error))
        self._wait(self._patience.seconds(tries))

  def _failed(self, how: str, last: str) -> None:
    """Counts a failure, and waits."""
    self._failures += 1
    if self._failures >= self._patience.failures:
      raise RunError(
        f"{self._failures} failures in a row, the last: {how}: {last}; the"
        " machine, if there is one, is left as it is (`logs`, `ssh`, `delete`)"
      )
    tell(f"{how}: {last}")
    self._wait(self._patience.seconds(self._failures))

  def _wait(self, seconds: float) -> None:
    """Waits, and says so."""
    tell(f"again in {seconds:.0f} s")
    self._sleep(seconds)
