"""A run that is disturbed ends as one that was not, or says why it cannot."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from orbax.checkpoint import v1 as ocp

import made_up_run
from checkpoint_states import bits
from ltu_jax import metrics, space, supply, train
from ltu_jax.bad_batches import BadBatchError
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.config import ConfigError
from ltu_jax.data.synthetic import SyntheticBatches
from ltu_jax.stop import Stopped
from ltu_jax.workdir_lock import LockError, WorkdirLock
from made_up_run import STEPS

pytestmark = [
  pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
  pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
  pytest.mark.filterwarnings("ignore:Sharding info not provided"),
  pytest.mark.usefixtures("drop_orbax_rest"),
]


TIMES = (
  "questions_per_second",
  "tokens_per_second_per_chip",
  "seconds_per_step",
  "data_wait",
)


def lines(workdir):
  found = [json.loads(x) for x in (workdir / "metrics.jsonl").open()]
  return [{k: v for k, v in x.items() if k not in TIMES} for x in found]


def state(workdir, stage=4, step=STEPS):
  folder = workdir / f"checkpoints/stage{stage}/{step}"
  return bits(ocp.load(folder, checkpointable_name="state"))


def steps(workdir, stage):
  folder = workdir / f"checkpoints/stage{stage}"
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
  """Every run here has the same programs: JAX keeps them on the disk."""
  options = {
    "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("cache")),
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
  }
  before = {name: getattr(jax.config, name) for name in options}
  for name, value in options.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()
  yield
  for name, value in before.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A run that nobody disturbed."""
  workdir = tmp_path_factory.mktemp("whole")
  train.run(made_up_run.config(), str(workdir))
  return workdir


def same(workdir, whole):
  assert lines(workdir) == lines(whole)
  for stage in (1, 4):
    assert state(workdir, stage) == state(whole, stage)


@pytest.fixture
def stop_at(monkeypatch):
  """Sends a signal when the metrics of a step are written."""
  write = metrics.Metrics.write

  def arm(stage, step, number=signal.SIGTERM):
    def writes(self, *place, **kwargs):
      write(self, *place, **kwargs)
      if place[:2] == (stage, step):
        os.kill(os.getpid(), number)

    monkeypatch.setattr(metrics.Metrics, "write", writes)

  return arm


@pytest.mark.slow
def test_stopped_between_checkpoints_goes_on_to_the_same_bits(
  whole, tmp_path, stop_at, capfd
):
  stop_at(4, 2)
  words = r"SIGTERM: stopped after step 3 of stage 4; safe after \d+\.\d s"
  with pytest.raises(Stopped, match=words):
    train.run(made_up_run.config(), str(tmp_path))
  assert steps(tmp_path, 4) == [2, 3]
  assert lines(tmp_path) == lines(whole)[: STEPS + 3]
  stop_at(4, 10**6)
  train.run(made_up_run.config(), str(tmp_path))
  assert "stage 4: going on at step 3" in capfd.readouterr().out
  same(tmp_path, whole)
  assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def damage(workdir, stage, step):
  shutil.rmtree(workdir / f"checkpoints/stage{stage}/{step}/state/d")


@pytest.mark.slow
def test_a_finished_stage_whose_end_is_damaged_is_ended_again(
  whole, tmp_path, capfd
):
  shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
  damage(tmp_path, 1, STEPS)
  train.run(made_up_run.config(), str(tmp_path))
  out, err = capfd.readouterr()
  assert f"stage1/{STEPS}: this checkpoint is damaged" in err
  assert "stage 1: going on at step 4" in out
  assert "stage 4: finished before" in out
  same(tmp_path, whole)


@pytest.mark.slow
def test_all_checkpoints_damaged_begins_the_stage_again(whole, tmp_path):
  shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
  for step in steps(whole, 4):
    damage(tmp_path, 4, step)
  train.run(made_up_run.config(), str(tmp_path))
  same(tmp_path, whole)


@pytest.mark.slow
def test_other_data_is_refused_unless_allowed(whole, tmp_path, monkeypatch):
  shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
  monkeypatch.setattr(supply.Synthetic, "identity", lambda self: "synthetic 2")
  words = r"another data:\n  data: synthetic -> synthetic 2\n.*--allow=data"
  with pytest.raises(CheckpointError, match=words):
    train.run(made_up_run.config(), str(tmp_path))
  train.run(made_up_run.config(), str(tmp_path), allow=["data"])


@pytest.mark.slow
def test_another_base_is_refused_unless_allowed(whole, tmp_path):
  shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
  other = made_up_run.config(seed=1)
  with pytest.raises(ConfigError, match=r"config\.seed: 0 -> 1\n.*allow=seed"):
    train.run(other, str(tmp_path))
  shutil.rmtree(tmp_path / "base")
  words = r"with another base:\n  base: \w{64} -> \w{64}\n.*--allow=base"
  with pytest.raises(CheckpointError, match=words):
    train.run(other, str(tmp_path), allow=["seed"])
  train.run(other, str(tmp_path), allow=["seed", "base"])


@pytest.mark.slow
def test_a_base_that_is_drawn_again_is_the_same(whole, tmp_path):
  shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
  shutil.rmtree(tmp_path / "base")
  train.run(made_up_run.config(), str(tmp_path))
  same(tmp_path, whole)


@pytest.mark.slow
def test_another_mesh_works_and_is_told(whole, tmp_path, capfd):
  shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
  shutil.rmtree(tmp_path / f"checkpoints/stage4/{STEPS}")
  mesh = {"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 2}
  train.run(made_up_run.config(**mesh), str(tmp_path))
  out = capfd.readouterr().out
  assert "since the save, mesh: data 1, fsdp 8, tensor 1 -> data 2" in out
  got, want = lines(tmp_path), lines(whole)
  assert [x["step"] for x in got] == [x["step"] for x in want]
  # Sums in another order, in bfloat16 activations.
  np.testing.assert_allclose(
    [x["loss"] for x in got], [x["loss"] for x in want], rtol=1e-3
  )


@pytest.mark.slow
def test_a_second_run_is_refused(whole, tmp_path):
  shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
  with (
    WorkdirLock(tmp_path),
    pytest.raises(LockError, match=rf"process {os.getpid()} on .*remove"),
  ):
    train.run(made_up_run.config(), str(tmp_path))


def test_a_small_disk_is_told_before_the_first_step(tmp_path, monkeypatch):
  usage = shutil.disk_usage(tmp_path)
  monkeypatch.setattr(
    shutil, "disk_usage", lambda _: usage._replace(free=64 << 20)
  )
  words = r"start weights and checkpoints take up to .* MB, and 67\.1 MB are fr"
  with pytest.raises(space.SpaceError, match=words):
    train.run(made_up_run.config(), str(tmp_path))
  assert not (tmp_path / "base").exists()


@pytest.mark.slow
def test_what_is_kept(tmp_path):
  kept = {"keep_checkpoints": 1, "keep_every": 4, "checkpoint_every": 1}
  train.run(made_up_run.config((4,), **kept), str(tmp_path))
  assert steps(tmp_path, 4) == [4, STEPS]


@pytest.mark.slow
def test_too_many_updates_in_a_row_that_are_not_finite_stop_the_run(
  tmp_path, capfd
):
  """A rate at which the weights leave float32's range."""
  hot = {"stages.stage4.peak_lr": 1e30, "guard.max_in_row": 1}
  file = tmp_path / "bad_batches/stage4-step4.json"
  words = rf"the last 2 updates were skipped.*max_in_row is 1.*replay={file}"
  with pytest.raises(BadBatchError, match=words):
    train.run(made_up_run.config((4,), **hot), str(tmp_path))
  assert "stage 4  step 3  no update: loss nan" in capfd.readouterr().err
  bad = [x for x in lines(tmp_path) if x.get("not_finite")]
  assert [x["step"] for x in bad] == [3, 4] and bad[0]["loss"] is None
  found = json.loads(file.read_text())
  assert found["why"] == "not finite" and found["loss"] == "nan"
  assert found["rows"] == list(range(24, 32))
  assert found["questions"][0] == {"row": 24}


ROW = SyntheticBatches.row


def light_start(self, place):
  """Few targets in the first three batches, so that the fourth is a spike."""
  row = ROW(self, place)
  if place < 24:
    row["loss_weights"] *= np.float32(1e-3)
  return row


SPIKE = {"guard.spike_factor": 3.0, "guard.spike_after": 2}


@pytest.fixture(scope="module")
def spiky(tmp_path_factory):
  """A run with a spike, and the file of it."""
  workdir = tmp_path_factory.mktemp("spiky")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(SyntheticBatches, "row", light_start)
    train.run(made_up_run.config((4,), **SPIKE), str(workdir))
  return workdir, workdir / "bad_batches/stage4-step4.json"


@pytest.mark.slow
def test_a_batch_is_run_again(spiky, monkeypatch, capfd):
  monkeypatch.setattr(SyntheticBatches, "row", light_start)
  workdir, file = spiky
  want = json.loads(file.read_text())
  assert want["why"] == "a spike"
  made = [x["step"] for x in lines(workdir) if not x.get("not_updated")]
  assert 4 not in made and {1, 2, 3} <= set(made)
  before = lines(workdir), steps(workdir, 4)
  replayed = made_up_run.config((4,), **SPIKE, debug__replay=str(file))
  train.run(replayed, str(workdir))
  got = json.loads(file.with_suffix(".replay.json").read_text())
  # The same numbers by another program.
  for name in ("loss", "grad_norm"):
    assert got["batch"][name] == pytest.approx(want[name], rel=1e-5)
  assert sorted(x["row"] for x in got["rows"]) == want["rows"]
  losses = [x["loss"] for x in got["rows"]]
  assert min(losses) < want["loss"] < max(losses)
  assert set(got["batch"]["grad_norm_by_part"]) == {
    *("encoder", "projector", "llama")
  }
  assert "replay: all 8 rows are in" in capfd.readouterr().out
  assert (lines(workdir), steps(workdir, 4)) == before


@pytest.mark.slow
def test_the_row_that_is_not_finite_is_found(tmp_path, monkeypatch):
  """One row whose target weights are NaN."""

  def rotten(self, place):
    made = ROW(self, place)
    if place == 21:
      made["loss_weights"][3] = np.nan
    return made

  monkeypatch.setattr(SyntheticBatches, "row", rotten)
  train.run(made_up_run.config((4,)), str(tmp_path))
  (file,) = (tmp_path / "bad_batches").iterdir()
  replayed = made_up_run.config((4,), debug__replay=str(file))
  train.run(replayed, str(tmp_path))
  got = json.loads(file.with_suffix(".replay.json").read_text())
  spoiled = [x["row"] for x in got["rows"] if np.isnan(x["loss"])]
  assert spoiled == [21] and got["rows"][0]["row"] == 21


@pytest.mark.slow
@pytest.mark.parametrize(
  "content, words",
  [
    (None, "cannot be read"),
    ("x", "is no file of a skipped batch"),
    ('{"stage": 4}', "is no file of a skipped batch"),
    ('{"stage": 4, "step": 0, "rows": []}', "does not name a stage"),
    ('{"stage": 4, "step": 99, "rows": []}', "step 99, and stage 4 has 6"),
    ('{"stage": 2, "step": 1, "rows": []}', "there is no stage 2"),
    ('{"stage": 4, "step": 1, "rows": [1]}', "is of another run"),
  ],
)
def test_a_file_that_cannot_be_replayed(spiky, tmp_path, content, words):
  workdir, _ = spiky
  file = tmp_path / "batch.json"
  if content is not None:
    file.write_text(content)
  config = made_up_run.config((4,), **SPIKE, debug__replay=str(file))
  with pytest.raises(BadBatchError, match=words):
    train.run(config, str(workdir))


def test_a_replay_needs_a_run(tmp_path):
  config = made_up_run.config((4,), debug__replay="x.json")
  with pytest.raises(CheckpointError, match="no run was started"):
    train.run(config, str(tmp_path / "none"))
