"""Worker processes: each makes one shard after another.

Processes are started by name and not forked or spawned from the program that
builds: that may be a notebook or a script without a `__main__` guard, and may
hold threads of TensorFlow.

A worker reads shard numbers from standard input and answers each with a line.
"""

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from tfds_builders.openaqa.full import shards

_DONE = "done"

_PROGRAM = "from tfds_builders.openaqa.full import worker; worker.main()"


class WorkerError(RuntimeError):
  """A worker that ended before its work; says how and what to do."""


def run(
  job: shards.Job,
  todo: Sequence[int],
  num_processes: int,
  on_done: Callable[[int], None],
) -> None:
  """Makes shards in several processes.

  Args:
    job: The build.
    todo: Numbers of the shards to make.
    num_processes: How many; one works in this process.
    on_done: Called with the number of each shard that is done, one at a time.

  Raises:
    WorkerError: If a worker failed or was killed; the others have ended then.
  """
  num_processes = min(num_processes, len(todo))
  if num_processes <= 1:
    for shard in todo:
      shards.build(job, shard)
      on_done(shard)
    return
  left = collections.deque(todo)
  errors: list[WorkerError] = []
  lock = threading.Lock()

  def work(process: subprocess.Popen) -> None:
    """Hands shards to one process until there are none."""
    while not errors:
      try:
        shard = left.popleft()
      except IndexError:
        return
      try:
        _hand(process, shard)
      except WorkerError as error:
        errors.append(error)
        return
      with lock:
        on_done(shard)

  processes = [_start(job) for _ in range(num_processes)]
  threads = [threading.Thread(target=work, args=(p,)) for p in processes]
  try:
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
  finally:
    for process, thread in zip(processes, threads, strict=True):
      process.kill()
      process.wait()
      if thread.ident is not None:
        thread.join()
  if errors:
    raise errors[0]


def _start(job: shards.Job) -> subprocess.Popen:
  """Starts a worker that finds this package as this process does."""
  here = pathlib.Path(__file__).parents[3]
  paths = [os.fspath(here), os.environ.get("PYTHONPATH", "")]
  return subprocess.Popen(
    [
      *(sys.executable, "-c", _PROGRAM),
      json.dumps(dataclasses.asdict(job)),
    ],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
  )


def _hand(process: subprocess.Popen, shard: int) -> None:
  """Has a worker make a shard, and waits.

  Raises:
    WorkerError: If it ends instead.
  """
  with contextlib.suppress(BrokenPipeError):
    process.stdin.write(f"{shard}\n")
    process.stdin.flush()
  answer = process.stdout.readline()
  if answer != f"{_DONE} {shard}\n":
    if answer:  # No answer at all; one that is not understood ends it.
      process.kill()
    status = process.wait()
    how = f"ended with status {status}; its own words are above"
    if status < 0:
      how = f"was killed by {signal.Signals(-status).name}"
      if status == -signal.SIGKILL:
        how += " (out of memory? try a smaller num_processes)"
    raise WorkerError(
      f"a worker {how}. The shards that are done stay; start the same build"
      " again to go on"
    )


def main() -> None:
  """Makes the shards that standard input names."""
  job = shards.Job(**json.loads(sys.argv[1]))
  # What a library prints, in C too, must not look like an answer.
  answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
  # Ctrl-C reaches all processes of a terminal; who started this one ends it.
  with contextlib.suppress(KeyboardInterrupt):
    for line in sys.stdin:
      shard = int(line)
      shards.build(job, shard)
      print(_DONE, shard, file=answers, flush=True)
