"""The faults: each breaks one start of a run, or what lies between two."""

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import time

from tests.chaos import results
from tests.chaos.config import STAGES, STEPS


class Lost(AssertionError):
  """A fault after which something was not as it has to be."""


def expect(holds, what, run=None):
  if not holds:
    raise Lost(f"{what}\n{run.text()[-3000:] if run else ''}")


def somewhere(run, rng):
  """Waits for a random step, and a little longer."""
  run.wait_for_step(rng.choice(STAGES), rng.randint(1, STEPS - 1))
  time.sleep(rng.random() * 0.3)


# Faults of a start. Each gets (run, rng, disk) and returns when it has ended.


def kill_at_any_time(run, rng, disk):
  """SIGKILL, while it starts, compiles, trains or reports."""
  end = time.monotonic() + rng.random() * 14
  run.wait_for(lambda: time.monotonic() > end)
  run.send(signal.SIGKILL)
  run.end()


def kill_in_a_step(run, rng, disk):
  """SIGKILL between two checkpoints."""
  somewhere(run, rng)
  run.send(signal.SIGKILL)
  run.end()


def kill_in_a_save(run, rng, disk):
  """SIGKILL while a checkpoint is written."""
  somewhere(run, rng)
  folder = run.workdir / "checkpoints"
  run.wait_for(lambda: any(folder.glob("stage*/*tmp*")))
  time.sleep(rng.random() * 0.1)
  run.send(signal.SIGKILL)
  run.end()


def _stop(name, number):
  def fault(run, rng, disk):
    somewhere(run, rng)
    run.send(number)
    status, text = run.end(), run.text()
    expect(status == 0, f"status {status}", run)
    told = "Go on with:" in text and "safe after" in text
    # A signal may come when the last step is made, or between two stages.
    between = "stopped between steps" in text or "finished in" in text
    expect(told or between, "no word of how to go on", run)

  fault.__name__ = name
  return fault


terminate = _stop("terminate", signal.SIGTERM)
interrupt = _stop("interrupt", signal.SIGINT)


def terminate_twice(run, rng, disk):
  """A second SIGTERM ends it at once."""
  somewhere(run, rng)
  for _ in range(2):
    run.send(signal.SIGTERM)
    time.sleep(rng.random() * 0.05)
  expect(run.end() in (0, 143), "status", run)


def suspend(run, rng, disk):
  """SIGSTOP for some seconds, as a machine that is moved; then it goes on."""
  somewhere(run, rng)
  run.send(signal.SIGSTOP)
  time.sleep(1 + rng.random() * 2)
  run.send(signal.SIGCONT)
  expect(run.end() == 0, "a suspended run did not end well", run)


def second_run(run, rng, disk):
  """Another run on the same folder refuses, and harms nothing."""
  run.wait_for_step(STAGES[0], 1)
  run.send(signal.SIGSTOP)  # it would be done before the second has started
  second = run.again()
  status = second.end()
  run.send(signal.SIGCONT)
  expect(status == 2, "the second run was let in", second)
  expect(
    f"process {run.pid} on" in second.text(), "no name of the first", second
  )
  expect(run.end() == 0, "the first run was harmed", run)


def full_disk(run, rng, disk):
  """No space for a while; saves fail and are tried again."""
  somewhere(run, rng)
  with disk.full(run):
    run.wait_for(lambda: "could not be saved" in run.text())
    time.sleep(rng.random())
  status = run.end()
  expect(status in (0, 2), f"status {status}", run)
  if status:
    expect("could not be saved" in run.text(), "no word of the disk", run)


def no_permission(run, rng, disk):
  """The folder cannot be written for a while."""
  somewhere(run, rng)
  with disk.read_only(run):
    run.wait_for(lambda: "could not be saved" in run.text())
  status = run.end()
  expect(status in (0, 2), f"status {status}", run)


def no_memory(run, rng, disk):
  """Its address space cannot grow any more: it fails wherever that is."""
  somewhere(run, rng)
  with contextlib.suppress(ProcessLookupError, FileNotFoundError):
    pages = pathlib.Path(f"/proc/{run.pid}/statm").read_text().split()[0]
    now = int(pages) * resource.getpagesize()
    limit = now + rng.randint(0, 1 << 20)
    resource.prlimit(run.pid, resource.RLIMIT_AS, (limit, limit))
  time.sleep(rng.random() * 3)
  run.send(signal.SIGKILL)  # where it still runs, or hangs
  run.end()


# Faults between two starts. Each gets (workdir, rng).


def _some_file(folder, rng):
  files = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_size]
  return rng.choice(sorted(files))


def _flip(file, rng):
  data = bytearray(file.read_bytes())
  data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
  file.write_bytes(data)


def flip_in_checkpoint(workdir, rng):
  """A bit of the newest checkpoint changes."""
  if folder := results.newest(workdir):
    _flip(_some_file(folder, rng), rng)


def cut_checkpoint(workdir, rng):
  """A file of the newest checkpoint is cut short or gone."""
  if folder := results.newest(workdir):
    file = _some_file(folder, rng)
    if rng.random() < 0.5:
      os.truncate(file, rng.randrange(file.stat().st_size))
    else:
      file.unlink()


def empty_checkpoint(workdir, rng):
  """A folder without anything has the newest step's name."""
  if folder := results.newest(workdir):
    shutil.rmtree(folder)
    folder.mkdir()


def foreign_checkpoint(workdir, rng):
  """What is no checkpoint has the name of a step."""
  for stage in STAGES:
    folder = workdir / f"checkpoints/stage{stage}"
    if folder.is_dir():
      target = folder / str(rng.randint(1, 2 * STEPS))
      if not target.exists():
        target.write_text("not a checkpoint")


def flip_in_base(workdir, rng):
  """A bit of the start weights changes; what the error says is done."""
  if (workdir / "base/weights").is_dir():
    _flip(_some_file(workdir / "base/weights", rng), rng)


def torn_metrics(workdir, rng):
  """The last line of metrics.jsonl is half written."""
  if (workdir / "metrics.jsonl").is_file():
    with (workdir / "metrics.jsonl").open("a") as file:
      file.write('{"stage": 4, "st')


STARTS = (
  kill_at_any_time,
  kill_in_a_step,
  kill_in_a_save,
  terminate,
  interrupt,
  terminate_twice,
  suspend,
  second_run,
  full_disk,
  no_permission,
  no_memory,
)
BETWEEN = (
  flip_in_checkpoint,
  cut_checkpoint,
  empty_checkpoint,
  foreign_checkpoint,
  flip_in_base,
  torn_metrics,
)
