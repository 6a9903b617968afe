"""A run in a bucket, killed or not, ends in the bits of one on a disk."""

import functools
import json
import pathlib
import subprocess
import sys

import pytest
from orbax.checkpoint import v1 as ocp

import made_up_run
from bucket_server import BUCKET
from checkpoint_states import bits
from ltu_jax import base, goodput, train
from ltu_jax.workdir_lock import LockError, WorkdirLock
from made_up_run import STEPS

pytestmark = [
  pytest.mark.slow,
  pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
  pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
  pytest.mark.filterwarnings("ignore:Sharding info not provided"),
  pytest.mark.usefixtures("drop_orbax_rest"),
]

_TESTS = pathlib.Path(__file__).parent

_TIMES = (
  "questions_per_second",
  "tokens_per_second_per_chip",
  "seconds_per_step",
  "data_wait",
)

# A dead run is watched for a second, not for 45.
_LOCK = functools.partial(WorkdirLock, beat_seconds=0.4, settle_seconds=0.2)

_RUN = f"""
import sys
sys.path.insert(0, {str(_TESTS)!r})
from ltu_jax import train
import made_up_run, test_bucket_run
train.WorkdirLock = test_bucket_run._LOCK
train.run(made_up_run.config(), sys.argv[1])
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A run on a disk that nobody disturbed."""
  workdir = tmp_path_factory.mktemp("whole")
  train.run(made_up_run.config(), str(workdir))
  return workdir


def lines(workdir):
  found = [json.loads(x) for x in (workdir / "metrics.jsonl").open()]
  return [{k: v for k, v in x.items() if k not in _TIMES} for x in found]


def state(workdir, stage):
  folder = workdir / f"checkpoints/stage{stage}/{STEPS}"
  return bits(ocp.load(folder, checkpointable_name="state"))


def kill_before(bucket, address, name):
  """Starts a run that is killed when it begins to write an object."""
  process = subprocess.Popen(
    [sys.executable, "-c", _RUN, address],
    cwd=_TESTS.parent,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )

  def cut(written):
    if written.endswith(name):
      process.kill()
    return process.poll() is not None or written.endswith(name)

  bucket.cut = cut
  out, err = process.communicate(timeout=500)
  bucket.cut = lambda name: False
  assert process.returncode == -9, err[-3000:]
  return out


def test_killed_twice_and_damaged_it_ends_in_the_bits_of_a_disk(
  bucket, whole, tmp_path, monkeypatch, capfd
):
  """Without its start weights' last object; in a save; an old bit flipped."""
  address, folder = f"gs://{BUCKET}/runs/killed/", "runs/killed"
  kill_before(bucket, address, "base/base.json")
  assert bucket.names(f"{folder}/base/weights")
  out = kill_before(bucket, address, "stage4/4/commit_success.txt")
  assert "no sign of life" in out
  unfinished = bucket.names(f"{folder}/checkpoints/stage4/4")
  assert unfinished
  names = bucket.names(f"{folder}/checkpoints/stage1/{STEPS}/state/d")
  for name in names:
    content = bytearray(bucket.read(name))
    content[len(content) // 2] ^= 1
    bucket.write(name, bytes(content))

  monkeypatch.setattr(train, "WorkdirLock", _LOCK)
  with _LOCK(address), pytest.raises(LockError, match=r"killed is in use by"):
    train.run(made_up_run.config(), address)
  capfd.readouterr()
  traced = {"profile__steps": "5:6", "profile__stage": 4}
  train.run(made_up_run.config(**traced), address)
  out, err = capfd.readouterr()
  assert f"stage1/{STEPS}: this checkpoint is damaged" in err
  assert f"stage 1: going on at step {STEPS - 2}" in out
  assert "stage 4: going on at step 2" in out
  bucket.download(folder, tmp_path)
  assert lines(tmp_path) == lines(whole)
  for stage in (1, 4):
    assert state(tmp_path, stage) == state(whole, stage)
  hashes = {base.info(x / "base").content_hash for x in (tmp_path, whole)}
  assert len(hashes) == 1
  moved = f"{folder}/checkpoints/stage1/damaged-{STEPS}"
  assert len(bucket.names(f"{moved}/state/d")) == len(names)
  assert not bucket.names(f"{folder}/lock")
  assert f"look at it with xprof --logdir=gs://{BUCKET}/{folder}/profile" in out
  (trace,) = bucket.names(f"{folder}/profile")
  assert trace.endswith("-0.xplane.pb")
  # The first start was killed before it had sent anything of its times.
  found = goodput.read(address)
  assert found.starts == 2 and found.total()["profile"] > 0
