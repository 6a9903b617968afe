"""The lock of a run's folder, between real processes."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from ltu_jax import lock_file
from ltu_jax.workdir_lock import LockError, WorkdirLock

ROOT = pathlib.Path(__file__).parents[1]
LONG = 60

# Takes the lock, says so, and holds it until it is told to end, or until it is
# lost.
_CHILD = """
import sys, time
from ltu_jax.workdir_lock import LockError, WorkdirLock
print("ready", flush=True)
if sys.argv[2] == "wait":
  sys.stdin.readline()
try:
  with WorkdirLock(
    sys.argv[1], beat_seconds=0.2, settle_seconds=0.2, grace_seconds=20
  ) as lock:
    print("held", flush=True)
    order = sys.stdin.readline()
    while order == "lost\\n" and not lock.lost:
      time.sleep(0.01)
    lock.check()
except LockError as error:
  print("refused:", error, flush=True)
"""


@contextlib.contextmanager
def child(folder, start="now"):
  process = subprocess.Popen(
    [sys.executable, "-c", _CHILD, str(folder), start],
    cwd=ROOT,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  try:
    assert process.stdout.readline() == "ready\n"
    yield process
  finally:
    process.kill()
    process.communicate()


def says(process):
  """The first word of the next line but those that tell what it waits for."""
  line = process.stdout.readline()
  while line.startswith("/"):
    line = process.stdout.readline()
  return line.strip().partition(":")[0]


def end(process, order="\n"):
  out, _ = process.communicate(order, timeout=LONG)
  assert process.returncode == 0
  return out


def until(condition):
  start = time.monotonic()
  while not condition():
    assert time.monotonic() - start < LONG
    time.sleep(0.01)


def quick(folder, **changes):
  times = {"beat_seconds": 0.05, "settle_seconds": 0.1, "grace_seconds": 0.3}
  return WorkdirLock(folder, **(times | changes))


def foreign(folder, beat=0, token="f" * 32):
  """Writes a lock as another machine does."""
  holder = {
    "host": "tpu-vm-7",
    "boot_id": "another",
    "pid": 4711,
    "started": "2026-01-02T03:04:05+00:00",
    "command": "python -m ltu_jax.main",
    "token": token,
    "beat": beat,
  }
  path = folder / "lock"
  path.touch()
  with path.open("r+b") as file:
    file.write(json.dumps(holder).encode().ljust(1023) + b"\n")


@contextlib.contextmanager
def foreign_beats(folder):
  """Another machine's holder that is alive."""
  stop = threading.Event()

  def beat():
    count = 1
    while not stop.wait(0.02):
      foreign(folder, count)
      count += 1

  foreign(folder)
  thread = threading.Thread(target=beat)
  thread.start()
  try:
    yield
  finally:
    stop.set()
    thread.join()


def test_second_process_is_refused_with_all_that_helps(tmp_path):
  with child(tmp_path) as first:
    assert says(first) == "held"
    with pytest.raises(LockError) as caught, quick(tmp_path):
      pass
    message = str(caught.value)
    host = os.uname().nodename
    for part in (
      str(tmp_path),
      f"process {first.pid} on host {host}",
      f"{sys.executable} -c",
      "since 20",
      f"remove {tmp_path / 'lock'}",
    ):
      assert part in message
    assert end(first) == ""


def test_one_of_eight_that_start_at_once_wins(tmp_path):
  with contextlib.ExitStack() as stack:
    processes = [
      stack.enter_context(child(tmp_path / "run", "wait")) for _ in range(8)
    ]
    for process in processes:
      process.stdin.write("\n")
      process.stdin.flush()
    words = [says(process) for process in processes]
    assert sorted(words) == ["held"] + ["refused"] * 7
    end(processes[words.index("held")])


def test_a_killed_process_leaves_no_lock(tmp_path, capsys):
  with child(tmp_path) as first:
    assert says(first) == "held"
    first.send_signal(signal.SIGKILL)
    first.wait(LONG)
    with quick(tmp_path, beat_seconds=1000):
      assert f"process {first.pid}" in capsys.readouterr().out


def test_a_clean_end_leaves_an_empty_file(tmp_path, capsys):
  with child(tmp_path) as first:
    assert says(first) == "held"
    end(first)
  assert (tmp_path / "lock").read_bytes() == b""
  for _ in range(2):
    with quick(tmp_path, beat_seconds=1000):
      pass
  assert capsys.readouterr().out == ""


def test_the_lock_goes_with_an_error_too(tmp_path):
  with pytest.raises(KeyError), quick(tmp_path):
    raise KeyError
  with quick(tmp_path):
    pass


def test_one_lock_at_a_time_in_a_process(tmp_path):
  with quick(tmp_path), pytest.raises(LockError), quick(tmp_path):
    pass


def test_another_machine_that_beats_is_left_alone(tmp_path, capsys):
  with (
    foreign_beats(tmp_path),
    pytest.raises(LockError, match="process 4711 on host tpu-vm-7"),
    quick(tmp_path, beat_seconds=20),
  ):
    pass
  assert "looking whether it is alive (60 s)" in capsys.readouterr().out


def test_a_dead_machine_is_followed(tmp_path, capsys):
  foreign(tmp_path)
  with quick(tmp_path) as lock:
    assert not lock.lost
  out = capsys.readouterr().out
  assert "tpu-vm-7" in out and "no sign of life" in out
  assert (tmp_path / "lock").read_bytes() == b""


def test_a_machine_that_ends_while_it_is_watched_is_followed(tmp_path):
  foreign(tmp_path)
  clear = lambda: os.truncate(tmp_path / "lock", 0)
  timer = threading.Timer(0.2, clear)
  timer.start()
  with quick(tmp_path, beat_seconds=1000):
    timer.join()


def test_one_of_several_follows_a_dead_machine(tmp_path):
  foreign(tmp_path)
  with contextlib.ExitStack() as stack:
    processes = [stack.enter_context(child(tmp_path)) for _ in range(3)]
    words = [says(process) for process in processes]
    assert sorted(words) == ["held"] + ["refused"] * 2


def test_a_lock_that_the_file_server_keeps_for_a_dead_machine(tmp_path):
  foreign(tmp_path)
  with (tmp_path / "lock").open() as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    with quick(tmp_path) as lock:
      # The new file is locked in its turn.
      with pytest.raises(LockError), quick(tmp_path):
        pass
      lock.check()
  assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_holder_notices_that_another_took_the_lock(tmp_path):
  with quick(tmp_path) as lock:
    lock.check()
    foreign(tmp_path)
    until(lambda: lock.lost)
    with pytest.raises(LockError, match="process 4711 on host tpu-vm-7"):
      lock.check()
  assert b"tpu-vm-7" in (tmp_path / "lock").read_bytes()


def test_a_suspended_holder_whose_lock_was_removed_finds_out(tmp_path):
  with child(tmp_path) as first:
    assert says(first) == "held"
    first.send_signal(signal.SIGSTOP)
    with pytest.raises(LockError), quick(tmp_path):
      pass
    (tmp_path / "lock").unlink()
    with quick(tmp_path) as lock:
      first.send_signal(signal.SIGCONT)
      assert f"process {os.getpid()}" in end(first, "lost\n")
      lock.check()


def test_a_lock_removed_from_a_living_run_is_made_again(tmp_path):
  path = tmp_path / "lock"
  with quick(tmp_path):
    path.unlink()
    until(lambda: path.exists() and path.stat().st_size)
    with pytest.raises(LockError), quick(tmp_path):
      pass


def test_beats_count_up_and_keep_their_length(tmp_path):
  beat = lambda: json.loads((tmp_path / "lock").read_bytes())["beat"]
  with quick(tmp_path):
    until(lambda: beat() > 3)
    assert (tmp_path / "lock").stat().st_size == 1024


def test_a_beat_that_cannot_be_written_is_written_later(tmp_path, monkeypatch):
  failed = []

  def fail(*unused):
    failed.append(True)
    raise OSError(errno.EIO, "broken")

  beat = lambda: json.loads((tmp_path / "lock").read_bytes())["beat"]
  with quick(tmp_path) as lock:
    with monkeypatch.context() as patch:
      patch.setattr(os, "pwrite", fail)
      until(lambda: len(failed) > 2)
      before = beat()
    until(lambda: beat() > before)
    lock.check()


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.ENOLCK])
def test_a_disk_without_locks_goes_by_the_content(tmp_path, monkeypatch, code):
  def fail(*unused):
    raise OSError(code, "no locks here")

  monkeypatch.setattr(lock_file.fcntl, "flock", fail)
  with quick(tmp_path), pytest.raises(LockError):
    quick(tmp_path, beat_seconds=20).__enter__()
  foreign(tmp_path)
  with quick(tmp_path):
    pass


@pytest.mark.parametrize(
  "content",
  [b"hello", b"\xff\xfe", b"[]", b'{"pid": 1}', b"{" * 5000, b"7"],
)
def test_a_content_of_something_else_says_what_to_do(tmp_path, content):
  (tmp_path / "lock").write_bytes(content)
  with pytest.raises(LockError, match="remove it"), quick(tmp_path):
    pass
  assert (tmp_path / "lock").read_bytes() == content


def test_zeros_of_a_crash_are_as_empty(tmp_path):
  (tmp_path / "lock").write_bytes(b"\0" * 1024)
  with quick(tmp_path):
    pass


def test_a_name_of_something_else_says_what_to_do(tmp_path):
  os.mkfifo(tmp_path / "lock")
  with pytest.raises(LockError, match="remove it"), quick(tmp_path):
    pass
  (tmp_path / "folder" / "lock").mkdir(parents=True)
  with pytest.raises(LockError, match="directory"), quick(tmp_path / "folder"):
    pass
  (tmp_path / "file").touch()
  with pytest.raises(LockError, match="exists"), quick(tmp_path / "file"):
    pass


def test_a_full_disk_is_an_error_and_leaves_no_half(tmp_path, monkeypatch):
  write = os.pwrite
  monkeypatch.setattr(os, "pwrite", lambda fd, x, at: write(fd, x[:100], at))
  with pytest.raises(LockError, match="No space left"), quick(tmp_path):
    pass
  assert (tmp_path / "lock").read_bytes() == b""


_AS_NOBODY = """
import os, sys
from ltu_jax.workdir_lock import LockError, WorkdirLock
if not os.geteuid():
  os.setuid(65534)
try:
  WorkdirLock(sys.argv[1]).__enter__()
except LockError as error:
  print(error)
"""


def test_a_read_only_folder_says_so():
  folder = tempfile.mkdtemp(dir="/tmp")  # root's are not seen by others
  try:
    os.chmod(folder, 0o555)
    found = subprocess.run(
      [sys.executable, "-c", _AS_NOBODY, folder],
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=LONG,
    )
  finally:
    shutil.rmtree(folder)
  assert f"{folder}/lock" in found.stdout
  assert "Permission denied" in found.stdout
  assert found.stderr == ""
