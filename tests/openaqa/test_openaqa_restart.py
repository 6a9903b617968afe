"""A build that is killed goes on where it stopped, to the same bytes."""

import errno
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import tensorflow_datasets as tfds

import made_up_openaqa as made_up
from tfds_builders.openaqa.full import build, shards

_SHARDS = 200

_PROGRAM = """
import signal, sys, made_up_openaqa
# A shell's background job, as these tests may be, is started to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
made_up_openaqa.build(sys.argv[1], sys.argv[2], {"num_shards": 200},
                      num_processes=int(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("manual")
  made_up.write(path, num_good=220)
  return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, folder):
  out = tmp_path_factory.mktemp("undisturbed")
  return made_up.build(folder, out, {"num_shards": _SHARDS}).data_path


def start(folder, out, num_processes):
  """Starts a build in a process group of its own."""
  return subprocess.Popen(
    [sys.executable, "-c", _PROGRAM, folder, out, str(num_processes)],
    env=os.environ | {"PYTHONPATH": os.path.dirname(__file__)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,
  )


def done(out):
  return sorted((out / "openaqa" / "full").glob("*.unfinished/shard-*.json"))


def same_files(first, second):
  """Whether records, index and texts of two data sets are the same bytes."""
  names = sorted(p.name for p in first.glob("*-*"))
  assert len(names) == _SHARDS + 2  # Index and texts.
  assert names == sorted(p.name for p in second.glob("*-*"))
  for name in names:
    assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_started_again(
  folder, undisturbed, tmp_path, num_processes, how
):
  first = start(folder, tmp_path, num_processes)
  deadline = time.monotonic() + 60
  while len(done(tmp_path)) < 5:
    assert time.monotonic() < deadline
    assert first.poll() is None, first.stdout.read()
    time.sleep(0.001)
  os.killpg(first.pid, how)
  first.communicate()
  kept = done(tmp_path)
  assert 5 <= len(kept) < _SHARDS
  inodes = {p.with_suffix(".array_record").stat().st_ino for p in kept}
  second = start(folder, tmp_path, num_processes)
  out, _ = second.communicate()
  assert second.returncode == 0, out
  assert f", {len(kept)} of {_SHARDS} shards are done" in out
  assert "OpenAQA: reading" not in out  # The first pass was not repeated.
  (built,) = (tmp_path / "openaqa" / "full").iterdir()
  same_files(undisturbed, built)
  # The very files: they were not made again.
  names = built.glob("openaqa-train.array_record-*")
  assert inodes <= {p.stat().st_ino for p in names}


def fail(job, shard):
  raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("change", ["option", "sound", "questions"])
def test_changed_input_starts_anew(tmp_path, capsys, monkeypatch, change):
  names = made_up.write(tmp_path / "in", num_good=4)
  lost = tmp_path / "in" / "audio" / f"{names[0]}.flac"
  lost.rename(tmp_path / "lost")
  made = shards.build
  monkeypatch.setattr(shards, "build", fail)
  with pytest.raises(OSError, match="No space left"):
    made_up.build(tmp_path / "in", tmp_path / "out")
  monkeypatch.setattr(shards, "build", made)
  capsys.readouterr()
  options = {}
  if change == "option":
    options["drop_duplicates"] = True
  elif change == "sound":
    (tmp_path / "lost").rename(lost)
  else:
    made_up.write_json(tmp_path / "in", made_up.entries(names, each=2))
  built = made_up.build(tmp_path / "in", tmp_path / "out", **options)
  out = capsys.readouterr().out
  assert "is of other questions, sounds or options; starting anew" in out
  num_clips = {"sound": 4}.get(change, 3)
  assert len(built.as_data_source("train")) == num_clips


def test_two_builds_at_once(folder, undisturbed, tmp_path):
  first, second = (start(folder, tmp_path, 1) for _ in range(2))
  outputs = [process.communicate()[0] for process in (first, second)]
  codes = sorted([first.returncode, second.returncode])
  # One builds; the other says so, while it does or after it, or comes so late
  # that TFDS finds it built.
  assert codes in ([0, 0], [0, 1]), outputs
  if codes == [0, 1]:
    says = re.compile(r"another process (builds in|has built) .*full")
    assert any(says.search(out) for out in outputs), outputs
  (built,) = (tmp_path / "openaqa" / "full").iterdir()
  same_files(undisturbed, built)


def test_a_build_that_another_has_finished_meanwhile(folder, tmp_path):
  made_up.build(folder, tmp_path)
  late = made_up.builder(folder, tmp_path)
  held = tfds.download.DownloadConfig(manual_dir=folder)
  with pytest.raises(build.BuildError, match="another process has built"):
    late._build_full(None, held)


def test_half_written_files_of_a_shard_are_no_matter(folder, tmp_path):
  job = shards.Job(str(tmp_path), 1, "soundfile", drop_duplicates=False)
  job.spool.mkdir()
  job.records(0).write_bytes(b"half")
  job.report(0).with_suffix(".tmp").write_text("{")
  assert not job.is_done(0)
  shards.build(job, 0)
  assert job.is_done(0)
  assert job.records(0).read_bytes() != b"half"
