"""The command line of training, in a process of its own."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def run(tmp_path, *flags):
  return subprocess.run(
    [
      sys.executable,
      "-m",
      "ltu_jax.main",
      "--config=configs/quickstart.py",
      f"--workdir={tmp_path / 'run'}",
      *flags,
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )


@pytest.mark.parametrize(
  "flags, words",
  [
    (["--config.data.batchsize=3"], ["batchsize", '"batch_size"']),
    (["--config.stages.stage2.peaklr=3"], ["peaklr", '"peak_lr"']),
    (["--config.dta.batch_size=3"], ["config.dta.batch_size", '"data"']),
    (["--config.seed.x=3"], ["config.seed.x", "no"]),
    (["--config.data.batch_size=abc"], ["config.data.batch_size", "abc"]),
    (["--config=configs/nope.py"], ["configs/nope.py"]),
    (["--config=configs/nope.py", "--config.seed=1"], ["configs/nope.py"]),
    (["--config=configs/stage4.py:7c"], ["7c", "7b, 13b, smollm2, tiny"]),
    (["--config.base.more=3"], ["--config.base.more: no such field"]),
    (["--config.log_every[0]=3"], ["no such field", "log_every[0]"]),
    (["--config.a[=3"], ["no such field", "--config.a["]),
    (["--config.data={'a': 1}"], ["--config.data.FIELD=VALUE"]),
    (["--config.seed=-1"], ["config.seed is -1"]),
    (["--config.log_every=0"], ["config.log_every is 0"]),
    (["--workdri=x"], ["workdri", "workdir"]),
  ],
)
def test_a_typo_is_one_error_without_a_traceback(tmp_path, flags, words):
  found = run(tmp_path, *flags)
  assert found.returncode != 0
  assert "Traceback" not in found.stderr
  for word in words:
    assert word in found.stderr
  assert not (tmp_path / "run").exists()


def test_all_wrong_fields_are_told(tmp_path):
  found = run(
    tmp_path,
    "--config.data.batchsize=3",
    "--config.log_every=5",
    "--config.data.max_tokens=abc",
    "--config.stages.stage2.peaklr=3",
  )
  lines = found.stderr.splitlines()
  assert found.returncode == 2 and len(lines) == 3, found.stderr
  for line, words in zip(
    lines,
    [["batchsize", "batch_size"], ["max_tokens", "abc"], ["peaklr", "peak_lr"]],
    strict=True,
  ):
    assert all(word in line for word in words)


STOPPED = """
import os, signal, sys, time
from ltu_jax import main, stop, train

def run(config, workdir, allow):
  with stop.Stop().listening():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

train.run = run
main.run()
"""


@pytest.mark.parametrize(
  "flags, status", [([], 0), (["--stopped_status=75"], 75)]
)
def test_the_status_of_a_run_that_was_told_to_stop(tmp_path, flags, status):
  config = "--config=configs/stage4.py:tiny"
  done = subprocess.run(
    [*(sys.executable, "-c", STOPPED, config, f"--workdir={tmp_path}", *flags)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == status, done.stderr
  assert "SIGTERM: stopped between steps" in done.stdout
