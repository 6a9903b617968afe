"""Real processes on this machine: joining, errors, one that dies."""

import signal
import socket
import subprocess
import sys
import time

import pytest

import process_run
from ltu_jax import processes
from ltu_jax.processes import ProcessError

# Starts quickly, imports no model: what the processes do alone is tested.
CODE = """
import os, signal, sys, time
from ltu_jax import processes
process, number, port = map(int, sys.argv[1:4])
processes.start(
  coordinator=f"127.0.0.1:{port}", num_processes=number, process_id=process,
  timeout=60,
)
import jax
"""


def start(code, number=2):
  port = process_run.free_port()
  return [
    subprocess.Popen(
      [sys.executable, "-c", CODE + code, *map(str, (i, number, port))],
      cwd=process_run.ROOT,
      env=process_run.environment(devices=2),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in range(number)
  ]


def test_the_first_acts_first_and_alone_prints(tmp_path):
  done = process_run.finish(
    start(
      f"""
made = {str(tmp_path / "made")!r}
def act():
  if not os.path.exists(made):
    time.sleep(1)
    with open(made, "x") as file:  # a second maker would fail
      file.write(str(jax.process_index()))
  return open(made).read()
maker = processes.in_turn(act)
os.system("echo from below Python")
print("made by", maker)
print("made by", maker, file=sys.stderr)
print(processes.name(), file=sys.stderr)
""",
      number=4,
    )
  )
  for process, (status, out, err) in enumerate(done):
    assert status == 0, err
    assert "made by 0" in err and f"process {process}: " in err
    if process:
      assert out == ""
    else:
      assert "made by 0" in out and "from below Python" in out


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_one_stops_all(failing):
  done = process_run.finish(
    start(
      f"""
def act():
  if jax.process_index() == {failing}:
    raise ValueError("the disk is full")
try:
  processes.in_turn(act)
except ValueError as error:
  print(type(error).__name__, error, file=sys.stderr)
try:
  processes.check_same("the config", "a" * 2000 + str(jax.process_index()))
except processes.ProcessError as error:
  print(error, file=sys.stderr)
"""
    )
  )
  for process, (status, _, err) in enumerate(done):
    assert status == 0, err
    want = (
      "ValueError the disk is full"
      if process == failing
      else f"ProcessError process {failing} could not go on: the disk is full"
    )
    assert want in err
    assert "the config of process 1 is not that of process 0" in err


@pytest.mark.slow
@pytest.mark.parametrize("dying", [0, 1])
def test_when_one_dies_the_others_end_within_a_minute(dying):
  started = start(
    f"""
from jax.experimental import multihost_utils
for step in range(10**6):
  multihost_utils.sync_global_devices("step")
  if step == 20 and jax.process_index() == {dying}:
    os.kill(os.getpid(), signal.SIGKILL)
"""
  )
  assert started[dying].wait(60) == -signal.SIGKILL
  start_time = time.monotonic()
  done = process_run.finish(started, timeout=90)
  assert time.monotonic() - start_time < 60
  status, _, err = done[1 - dying]
  assert status not in (0, -signal.SIGKILL)
  assert "another task died" in err


def test_one_process_needs_no_others(monkeypatch):
  monkeypatch.setattr(processes, "is_cluster", lambda environ: False)
  processes.start()
  assert processes.name() == ""
  assert processes.in_turn(lambda: 7) == 7
  with pytest.raises(ValueError, match="mine"):
    processes.in_turn(_fails)


def _fails():
  raise ValueError("mine")


def test_clusters_are_found(monkeypatch):
  monkeypatch.setattr(processes.glob, "glob", lambda pattern: [])
  assert not processes.is_cluster({})
  assert not processes.is_cluster({"SLURM_JOB_ID": "3", "SLURM_NTASKS": "4"})
  assert not processes.is_cluster({"SLURM_STEP_NUM_TASKS": "1"})
  assert processes.is_cluster({"SLURM_STEP_NUM_TASKS": "2"})
  monkeypatch.setattr(processes.glob, "glob", lambda pattern: [pattern])
  monkeypatch.setattr(
    processes.importlib.util, "find_spec", lambda name: name == "libtpu"
  )
  assert processes.is_cluster({})
  assert processes.is_cluster({"JAX_PLATFORMS": "tpu,cpu"})
  assert not processes.is_cluster({"JAX_PLATFORMS": "cpu"})


@pytest.mark.parametrize(
  "given, words",
  [
    (("127.0.0.1:8476", 2, None), "--process_id is missing; give all of"),
    ((None, 2, 1), "--coordinator is missing"),
    (("127.0.0.1:8476", 2, 2), "--process_id is 2; of 2 .* the last 1"),
    (("127.0.0.1:8476", 2, -1), "--process_id is -1"),
    (("127.0.0.1", 2, 1), "give HOST:PORT, such as"),
    (("127.0.0.1:http", 2, 1), "give HOST:PORT, such as"),
    (("127.0.0.1:1", 2, 1), "could not reach process 0 at 127.0.0.1:1 in 2 s"),
    (("no.such.host.invalid:9", 2, 1), "could not reach process 0"),
  ],
)
def test_bad_flags_are_one_clear_error(given, words):
  coordinator, number, process = given
  start_time = time.monotonic()
  with pytest.raises(ProcessError, match=words):
    processes.start(
      coordinator=coordinator,
      num_processes=number,
      process_id=process,
      timeout=2,
    )
  assert time.monotonic() - start_time < 20


def test_a_port_in_use_is_one_clear_error():
  with socket.create_server(("", 0), family=socket.AF_INET6) as server:
    port = server.getsockname()[1]
    with pytest.raises(ProcessError, match=f"cannot listen at port {port}"):
      processes.start(
        coordinator=f"127.0.0.1:{port}", num_processes=2, process_id=0
      )


def test_main_tells_bad_flags_and_ends_with_status_two(tmp_path):
  (done,) = process_run.finish(
    process_run.start(
      tmp_path,
      tmp_path / "run",
      1,
      2,
      flags=(
        "--coordinator=127.0.0.1:1",
        "--num_processes=2",
        "--process_id=3",
      ),
    )
  )
  status, out, err = done
  assert status == 2 and out == ""
  assert err.startswith("error: --process_id is 3;") and err.count("\n") == 1
