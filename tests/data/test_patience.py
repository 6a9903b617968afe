"""A reader that stalls or dies is noticed."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import grain
import pytest

from ltu_jax.data import patience, share
from ltu_jax.data.patience import Patient, StalledError, WorkerError

ROOT = pathlib.Path(__file__).parents[2]
LONG = 60


class Inner:
  """Counts up; what `act` does comes before."""

  def __init__(self, act=lambda: None):
    self.act, self.count = act, 0

  def __next__(self):
    self.act()
    self.count += 1
    return self.count

  def get_state(self):
    return {"count": self.count}

  def set_state(self, state):
    self.count = state["count"]


def patient(inner, folder, stall=LONG, give_up=LONG):
  return Patient(
    inner,
    lambda: "stage 2, step 17",
    folder,
    stall_seconds=stall,
    give_up_seconds=give_up,
  )


def batches(num_threads, act=lambda x: x):
  rows = grain.MapDataset.range(1000).map(act).repeat()
  return iter(share.dataset(rows, None, 2, num_threads))


def raises(kind):
  def act(*unused):
    raise kind("of the reader")

  return act


@pytest.mark.parametrize("num_threads", [0, 1, 4])
def test_batches_and_positions_are_those_of_plain_use(tmp_path, num_threads):
  plain, tried = batches(num_threads), patient(batches(num_threads), tmp_path)
  states = []
  for _ in range(5):
    states.append(tried.get_state())
    assert tried.get_state() == plain.get_state()
    assert next(tried).tolist() == next(plain).tolist()
  for again in (plain, tried):
    again.set_state(states[2])
  assert tried.get_state() == plain.get_state() == states[2]
  assert next(tried).tolist() == next(plain).tolist() == [4, 5]
  plain.set_state(tried.get_state())
  assert next(tried).tolist() == next(plain).tolist()


def test_nothing_is_read_ahead(tmp_path):
  inner = Inner()
  tried = patient(inner, tmp_path)
  assert inner.count == 0
  assert [next(tried) for _ in range(3)] == [1, 2, 3]
  assert inner.count == 3


def test_the_end_passes(tmp_path):
  dataset = grain.MapDataset.range(3).to_iter_dataset()
  assert list(patient(iter(dataset), tmp_path)) == [0, 1, 2]


def test_an_error_comes_out_unchanged(tmp_path):
  error = KeyError("gone")

  def fail():
    raise error

  with pytest.raises(KeyError) as caught:
    next(patient(Inner(fail), tmp_path))
  assert caught.value is error
  assert "fail" in [entry.name for entry in caught.traceback]


def test_after_an_error_it_reads_on(tmp_path):
  inner = Inner(raises(OSError))
  tried = patient(inner, tmp_path)
  with pytest.raises(OSError, match="of the reader"):
    next(tried)
  inner.act = lambda: None
  assert next(tried) == 1


@pytest.mark.parametrize("num_threads", [0, 1, 4])
def test_an_error_in_grains_threads_arrives(tmp_path, num_threads):
  with pytest.raises(ArithmeticError, match="of the reader"):
    next(patient(batches(num_threads, raises(ArithmeticError)), tmp_path))


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("num_threads", [0, 2])
def test_a_thread_that_wants_to_end_is_an_error(tmp_path, num_threads, kind):
  with pytest.raises(WorkerError, match="stage 2, step 17") as caught:
    next(patient(batches(num_threads, raises(kind)), tmp_path))
  assert isinstance(caught.value.__cause__, kind)


def test_a_stall_is_told_with_the_stacks(tmp_path, capsys):
  def wait_for_the_file():
    start = time.monotonic()
    while not any("wait_for_the_file" in text for text in stacks(tmp_path)):
      assert time.monotonic() - start < LONG
      time.sleep(0.01)

  assert next(patient(Inner(wait_for_the_file), tmp_path, stall=0.1)) == 1
  (path,) = tmp_path.iterdir()
  err = capsys.readouterr().err
  assert "stage 2, step 17: no batch for 0.1 s; the stacks" in err
  assert f"{path};" in err and path.name.startswith("stalled-20")
  assert "the batch came after" in err


def stacks(folder):
  return [path.read_text() for path in folder.iterdir()]


def test_patience_ends(tmp_path):
  release = threading.Event()
  inner = Inner(release.wait)
  inner.count = 5
  tried = patient(inner, tmp_path, stall=0.1, give_up=0.2)
  with pytest.raises(StalledError) as caught:
    next(tried)
  (path,) = tmp_path.iterdir()
  for part in ("stage 2, step 17", "0.2 s", str(path), "last checkpoint"):
    assert part in str(caught.value)
  assert "patience.py" in path.read_text()
  # The position is still that of what was returned, whatever the inner does.
  inner.count = 7
  assert tried.get_state() == {"count": 5}
  with pytest.raises(StalledError, match="position"):
    tried.set_state({"count": 0})
  inner.count = 5
  release.set()
  assert eventually(tried) == 6
  assert tried.get_state() == {"count": 6}


def eventually(tried):
  """The next batch, on a machine that may be slower than the patience."""
  start = time.monotonic()
  while time.monotonic() - start < LONG:
    with contextlib.suppress(StalledError):
      return next(tried)
  raise AssertionError("no batch")


def test_two_stalls_of_a_second_have_two_files(tmp_path, monkeypatch):
  monkeypatch.setattr(patience.time, "strftime", lambda *unused: "stalled-x")
  tried = patient(Inner(threading.Event().wait), tmp_path, 0.05, 0.05)
  for _ in range(2):
    with pytest.raises(StalledError):
      next(tried)
  names = sorted(path.name for path in tmp_path.iterdir())
  assert names == ["stalled-x-1.txt", "stalled-x.txt"]


def test_stacks_that_cannot_be_written_are_printed(tmp_path, capfd):
  tried = patient(Inner(threading.Event().wait), tmp_path / "no", 0.05, 0.05)
  with pytest.raises(StalledError, match="on the standard error"):
    next(tried)
  assert "Thread 0x" in capfd.readouterr().err


def test_the_thread_ends_with_its_owner(tmp_path):
  names = lambda: [t.name for t in threading.enumerate()]
  before = names().count("patient reader")
  tried = patient(Inner(), tmp_path)
  next(tried)
  del tried
  start = time.monotonic()
  while names().count("patient reader") > before:
    assert time.monotonic() - start < LONG
    time.sleep(0.01)


def run(code, *args):
  return subprocess.Popen(
    [sys.executable, "-c", code, *map(str, args)],
    cwd=ROOT,
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(process):
  try:
    out, err = process.communicate(timeout=LONG)
  finally:
    process.kill()
  return process.returncode, out, err


_WAITS = """
import os, signal, sys, threading
from ltu_jax.data.patience import Patient
class Inner:
  def get_state(self):
    return {}
  def __next__(self):
    print("reading", flush=True)
    threading.Event().wait()
def handle(number, frame):
  # Not print: a signal that comes while it flushes cannot print again.
  os.write(1, b"handled\\n")
  if number == signal.SIGTERM:
    sys.exit(5)
for number in (signal.SIGTERM, signal.SIGUSR1):
  signal.signal(number, handle)
next(Patient(
  Inner(), "x", sys.argv[1], stall_seconds=1000, give_up_seconds=2000
))
"""


def test_signals_are_handled_while_it_waits(tmp_path):
  # Sent as the main thread begins to wait: once in hundreds of times it went
  # to sleep for all of stall_seconds with the signal in its hand.
  process = run(_WAITS, tmp_path)
  try:
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGUSR1)  # goes on waiting after it
    assert process.stdout.readline() == "handled\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "handled\n"
  finally:
    status, _, err = finish(process)
  assert (status, err) == (5, "")


_STUCK = """
import pathlib, sys, threading
import grain
from ltu_jax.data import patience
how, num_threads, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def act(x):
  if how == "pipe":
    pathlib.Path(folder, "pipe").read_bytes()
  else:
    threading.Event().wait()
dataset = grain.MapDataset.range(99).map(act).to_iter_dataset(
  grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
)
tried = patience.Patient(
  iter(dataset), "x", folder, stall_seconds=0.1, give_up_seconds=0.2
)
try:
  next(tried)
except patience.StalledError:
  print("stalled")  # not flushed
  if num_threads:
    patience.leave(3)
  sys.exit(3)
"""


@pytest.mark.parametrize(
  ("how", "num_threads"), [("pipe", 2), ("event", 2), ("pipe", 0)]
)
def test_a_stuck_reader_does_not_keep_the_process(tmp_path, how, num_threads):
  os.mkfifo(tmp_path / "pipe")
  status, out, err = finish(run(_STUCK, how, num_threads, tmp_path))
  assert (status, out) == (3, "stalled\n"), err
  (path,) = tmp_path.glob("stalled-*.txt")
  assert "in act" in path.read_text()
