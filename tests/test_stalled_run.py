"""A reader that is stuck ends the run with a sentence, in a real process."""

import subprocess
import sys

import pytest

import process_run

# Synthetic rows; from the third batch on, none comes.
CODE = """
import sys, threading
sys.path.insert(0, "tests")
import made_up_run
from ltu_jax import main
from ltu_jax.data.synthetic import SyntheticBatches
row = SyntheticBatches.row
def stuck(self, place):
  if place >= 16:
    threading.Event().wait()
  return row(self, place)
SyntheticBatches.row = stuck
config = made_up_run.config(
  (4,), data__stall_seconds=0.5, data__give_up_seconds=2.0
)
main.train_run(config, sys.argv[1])
"""


@pytest.mark.slow
def test_the_run_ends_and_names_the_stacks(tmp_path):
  done = subprocess.run(
    [sys.executable, "-c", CODE, str(tmp_path)],
    cwd=process_run.ROOT,
    env=process_run.environment(8),
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 2, done.stderr[-3000:]
  (stacks,) = tmp_path.glob("stalled-*.txt")
  assert "in stuck" in stacks.read_text()
  assert f"no batch for 0.5 s; the stacks of all threads are in {stacks}" in (
    done.stderr
  )
  error = done.stderr.splitlines()[-1]
  assert error.startswith("error: stage 4, data: no batch for 2 s")
  assert "goes on from its last checkpoint" in error
  # The two steps before are safe, and the folder is free again.
  assert (tmp_path / "checkpoints/stage4/2").is_dir()
  assert not (tmp_path / "lock").read_bytes().strip(b"\0")
