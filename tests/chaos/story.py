"""A story: faults in a row on one run, and whether it ends as it should."""

import dataclasses
import pathlib
import random
import shutil

from tests.chaos import faults, results
from tests.chaos.disk import Disk
from tests.chaos.faults import Lost, expect
from tests.chaos.run import Run

_MOST_STARTS = 6
"""After its faults a run gets so many starts to end in."""


@dataclasses.dataclass(frozen=True)
class Undisturbed:
  """What a run without faults comes to.

  Attributes:
    data: folder of the records it was trained on; None for made-up data.
    weights: hash of its weights.
    metrics: its lines.
  """

  data: pathlib.Path | None
  weights: str
  metrics: list


@dataclasses.dataclass
class Told:
  """A story that was played.

  Attributes:
    seed: its number.
    faults: names of its faults.
    starts: how often the run was started.
    lost: what was not as it should be; "" if all was.
  """

  seed: int
  faults: list[str]
  starts: int = 0
  lost: str = ""


def undisturbed(folder, cache, data=None):
  """Trains without faults."""
  run = Run(folder, cache, data)
  expect(run.end() == 0, "the undisturbed run failed", run)
  return Undisturbed(data, results.weights(folder), results.metrics(folder))


def choose(seed, most=3):
  """The faults of a story: `most` starts; each fault may have one after it.

  The first goes through all kinds in turn, so that a few stories have all.
  """
  rng = random.Random(seed)
  every = (*faults.STARTS, *faults.BETWEEN)
  first = every[seed % len(every)]
  plan = []
  for turn in range(rng.randint(1, most)):
    start = rng.choice(faults.STARTS[:6])
    between = rng.choice(faults.BETWEEN) if rng.random() < 0.4 else None
    if turn == 0 and first in faults.STARTS:
      start = first
    elif turn == 0:
      start, between = rng.choice(faults.STARTS[1:4]), first
    plan.append((start, between))
  return plan


def play(seed, goal, scratch, cache, most=3):
  """Plays one story; never raises for what the run did wrong."""
  rng, plan = random.Random(seed + 10**6), choose(seed, most)
  names = [f.__name__ for pair in plan for f in pair if f]
  told = Told(seed, names)
  disk = Disk(scratch / f"story{seed}")
  workdir = disk.folder / "run"
  try:
    for start, between in plan:
      told.starts += 1
      _start(Run(workdir, cache, goal.data), start, rng, disk)
      if between:
        between(workdir, rng)
    told.starts += _finish(workdir, cache, goal)
    expect(results.weights(workdir) == goal.weights, "other weights")
    expect(results.metrics(workdir) == goal.metrics, "other metrics")
    left = [p.name for p in workdir.glob("checkpoints/*/*tmp*")]
    expect(not left, f"left behind: {left}")
  except (Lost, TimeoutError, OSError, ValueError) as error:
    told.lost = f"{type(error).__name__}: {error}"
  finally:
    disk.close()
  return told


def _start(run, fault, rng, disk):
  """Plays the fault of a start; what was damaged before it may come first."""
  try:
    fault(run, rng, disk)
  except Lost:
    if not run.ended or "error:" not in run.text():
      raise
    _obey(run.workdir, run)
  finally:
    run.kill()


def _finish(workdir, cache, goal):
  """Starts the run until it ends; does what its errors say."""
  for number in range(1, _MOST_STARTS + 1):
    run = Run(workdir, cache, goal.data)
    status = run.end()
    if status == 0 and "finished in" in run.text():
      return number
    expect(status == 2, f"status {status}", run)
    _obey(workdir, run)
  raise Lost(f"not finished after {_MOST_STARTS} starts\n{run.text()[-3000:]}")


def _obey(workdir, run):
  """Does what an error's text asks for."""
  if "base weights are damaged" in run.text():
    expect(f"{workdir}/base" in run.text(), "the base is not named", run)
    shutil.rmtree(workdir / "base")
    return
  raise Lost(f"an error that says nothing to do\n{run.text()[-3000:]}")
