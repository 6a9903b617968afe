"""Worker processes: all shards get made, and a dead worker is an error."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from etils import epath

import made_up_openaqa
from tfds_builders.openaqa.full import plan, shards, worker


@pytest.fixture
def job(tmp_path):
  """Six shards to make."""
  made_up_openaqa.write(tmp_path / "in", num_good=30)
  source = plan.Input(
    (str(tmp_path / "in" / made_up_openaqa.JSON),),
    (str(tmp_path / "in"),),
    True,
  )
  folder = tmp_path / "work"
  plan.make(source, plan.list_sounds(source), epath.Path(folder / "spool"))
  return shards.Job(str(folder), 6, "soundfile", drop_duplicates=False)


def records(job):
  """SHA-256 of every shard."""
  reports = [json.loads(job.report(s).read_text()) for s in range(6)]
  return [report["sha256"] for report in reports]


def test_processes_make_the_same_bytes_as_this_one(job, tmp_path):
  done = []
  worker.run(job, range(6), 3, done.append)
  assert sorted(done) == list(range(6))
  several = records(job)
  for shard in range(6):
    job.report(shard).unlink()
  worker.run(job, range(6), 1, done.append)
  assert records(job) == several


def test_what_is_done_is_not_done_again(job):
  worker.run(job, range(6), 1, lambda _: None)
  before = job.records(3).stat()
  shards.build(job, 3)
  assert job.records(3).stat().mtime == before.mtime


def test_a_script_without_a_main_guard_can_build(job, tmp_path):
  # multiprocessing's spawn would run this script again in each worker.
  script = tmp_path / "script.py"
  script.write_text(
    "from tfds_builders.openaqa.full import shards, worker\n"
    f"job = shards.Job({job.folder!r}, 6, 'soundfile', False)\n"
    "print('started')\n"
    "worker.run(job, range(6), 2, lambda _: None)\n"
  )
  out = subprocess.run(
    [sys.executable, script],
    capture_output=True,
    text=True,
    check=True,
    env=os.environ | {"PYTHONPATH": os.getcwd()},
  )
  assert out.stdout == "started\n"
  assert all(job.is_done(s) for s in range(6))


def test_a_worker_that_fails_is_an_error_and_what_is_done_stays(job, capfd):
  # A shard that cannot be written: a folder is where its file should go.
  pathlib.Path(job.records(4)).mkdir()
  with pytest.raises(worker.WorkerError, match="status 1; its own words are"):
    worker.run(job, range(6), 2, lambda _: None)
  assert "shard-00004" in capfd.readouterr().err
  assert job.is_done(0)
  assert not job.is_done(4)
  pathlib.Path(job.records(4)).rmdir()
  todo = [s for s in range(6) if not job.is_done(s)]
  worker.run(job, todo, 2, lambda _: None)
  assert all(job.is_done(s) for s in range(6))


def test_a_worker_that_is_killed_is_an_error_and_not_a_hang(job, monkeypatch):
  start = worker._start

  def killed(job):
    process = start(job)
    process.send_signal(signal.SIGKILL)
    return process

  monkeypatch.setattr(worker, "_start", killed)
  message = re.escape("was killed by SIGKILL (out of memory? try a smaller")
  with pytest.raises(worker.WorkerError, match=message):
    worker.run(job, range(6), 2, lambda _: None)
