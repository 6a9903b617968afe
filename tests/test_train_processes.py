"""Training with several real processes gives what one process gives."""

import re
import shutil
import signal
import time

import numpy as np
import pytest
from flax import nnx

import process_run
from bucket_server import BUCKET
from checkpoint_states import bits
from ltu_jax import base
from ltu_jax.bundle import load_model
from ltu_jax.convert import __main__ as convert

# One stage, so that it stays short: what is drawn, the tokenizer, checkpoints
# and the loop are in it. Dropout is on: it shows if rows change their places.
CHANGES = {
  "mesh.data": 2,
  "mesh.fsdp": 2,
  "mesh.tensor": 1,
  "data.micro_batches": 2,
}


def train(sounds, workdir, processes, devices, changes=None, **kwargs):
  done = process_run.finish(
    process_run.start(
      sounds,
      workdir,
      processes,
      devices,
      CHANGES | (changes or {}),
      **kwargs,
    )
  )
  for status, _, err in done:
    assert status == 0, err[-3000:]
  return done


def assert_same_losses(got, want):
  steps = [[(x["stage"], x["step"]) for x in run] for run in (got, want)]
  assert steps[0] == steps[1]
  for name in ("loss", "grad_norm", "lr"):
    # The same float32 numbers, summed in another order between processes.
    np.testing.assert_allclose(
      [x[name] for x in got], [x[name] for x in want], rtol=1e-5, err_msg=name
    )


@pytest.fixture(scope="module")
def alone(sounds, tmp_path_factory):
  """One process with four devices."""
  workdir = tmp_path_factory.mktemp("alone")
  train(sounds, workdir, 1, 4)
  return workdir


@pytest.fixture(scope="module")
def two(sounds, alone, tmp_path_factory):
  """Two processes with two devices each: workdir and what they printed."""
  workdir = tmp_path_factory.mktemp("two")
  evaluated = {"eval.stage_items": 2, "eval.final_items": 2}
  return workdir, train(sounds, workdir, 2, 2, evaluated)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(two, alone):
  workdir, _ = two
  assert_same_losses(process_run.lines(workdir), process_run.lines(alone))
  hashes = {base.info(w / "base").content_hash for w in (workdir, alone)}
  assert len(hashes) == 1


@pytest.mark.slow
def test_only_the_first_process_prints_and_reports(two):
  workdir, ((_, first, _), (_, second, _)) = two
  assert "stage 2  step 3/3" in first and "held out: labels" in first
  assert first.count("finished in") == 1
  assert second == ""
  for name in ("report.md", "report.json", "curves.png"):
    assert (workdir / name).stat().st_size > 100


# Dies between the steps 2 and 3, when the checkpoint of step 2 is whole.
STOP = """
from ltu_jax import checkpoint
def stop(self, step, *_, **__):
  if step == 2:
    save(self, step, *_, **__)
    self.settle()
    raise SystemExit(9)
  return save(self, step, *_, **__)
save = checkpoint.Checkpoints.save
checkpoint.Checkpoints.save = stop
"""


def stop_at_two(sounds, workdir, processes, devices):
  """Starts a run that ends after step 2; its own status shows that it did."""
  stopped = process_run.finish(
    process_run.start(sounds, workdir, processes, devices, CHANGES, before=STOP)
  )
  assert {status for status, _, _ in stopped} == {9}, stopped[0][2][-3000:]


@pytest.fixture(scope="module")
def stopped(sounds, tmp_path_factory):
  """What two processes with two devices each left at step 2; to be copied."""
  workdir = tmp_path_factory.mktemp("stopped") / "run"
  stop_at_two(sounds, workdir, 2, 2)
  return workdir


@pytest.mark.slow
def test_goes_on_with_fewer_processes(sounds, alone, stopped, tmp_path):
  workdir = shutil.copytree(stopped, tmp_path / "run", symlinks=True)
  done = train(sounds, workdir, 1, 4)
  assert "going on at step 2" in done[0][1]
  assert_same_losses(process_run.lines(workdir), process_run.lines(alone))


@pytest.mark.slow
def test_goes_on_with_more_processes(sounds, alone, tmp_path):
  workdir = tmp_path / "run"
  stop_at_two(sounds, workdir, 1, 4)
  done = train(sounds, workdir, 4, 1)
  assert "going on at step 2" in done[0][1]
  assert_same_losses(process_run.lines(workdir), process_run.lines(alone))


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [(1, 1, 4), (1, 4, 1)], ids=str)
def test_processes_that_share_rows_or_weights(sounds, tmp_path, mesh):
  """Tensor parts over processes: both processes need the same rows."""
  axes = ("mesh.data", "mesh.fsdp", "mesh.tensor")
  changes = dict(zip(axes, mesh, strict=True)) | {
    "tokenizer.vocab_size": 332,
    "model.encoder.heads": 4,
    "model.llama.heads": 4,
    "model.llama.kv_heads": 4,
  }
  train(sounds, tmp_path / "one", 1, 4, changes)
  train(sounds, tmp_path / "two", 2, 2, changes)
  assert_same_losses(
    process_run.lines(tmp_path / "two"), process_run.lines(tmp_path / "one")
  )


@pytest.fixture(scope="module")
def twenty(sounds, tmp_path_factory):
  """One process, twenty steps."""
  workdir = tmp_path_factory.mktemp("twenty")
  train(sounds, workdir, 1, 4, TWENTY)
  return workdir


TWENTY = {"stages.stage2.steps": 20}


def wait_for_step(workdir, step, started):
  for _ in range(3000):
    file = workdir / "metrics.jsonl"
    if file.exists() and f'"step": {step}' in file.read_text():
      return
    assert all(process.poll() is None for process in started)
    time.sleep(0.05)
  raise AssertionError(f"no step {step}")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_one_step(
  sounds, twenty, tmp_path
):
  workdir = tmp_path / "run"
  started = process_run.start(sounds, workdir, 2, 2, CHANGES | TWENTY)
  wait_for_step(workdir, 3, started)
  started[1].send_signal(signal.SIGTERM)
  (first, out, err), (second, _, other) = process_run.finish(started)
  assert (first, second) == (0, 0), err[-3000:] + other[-3000:]
  found = re.search(
    r"another process .*: stopped after step (\d+) of stage", out
  )
  assert found, out[-3000:] + "SECOND" + other[-3000:]
  step = int(found[1])
  assert 3 < step < 20 and len(process_run.lines(workdir)) == step
  done = train(sounds, workdir, 2, 2, TWENTY)
  assert f"going on at step {step}" in done[0][1]
  assert_same_losses(process_run.lines(workdir), process_run.lines(twenty))


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_all_processes_take_the_step_before_a_damaged_one(
  sounds, alone, stopped, tmp_path, process
):
  """What one process wrote is damaged; perhaps only that one reads it."""
  workdir = shutil.copytree(stopped, tmp_path / "run", symlinks=True)
  folder = workdir / f"checkpoints/stage2/2/state/ocdbt.process_{process}"
  for file in folder.rglob("*"):
    if file.is_file() and file.stat().st_size > 64:
      data = bytearray(file.read_bytes())
      # Everywhere: what of it is still referred to differs from run to run.
      for place in range(32, len(data), 64):
        data[place] ^= 1
      file.write_bytes(data)
  done = train(sounds, workdir, 2, 2)
  assert "stage2/2: this checkpoint is damaged" in done[0][2]
  assert "going on at step 1" in done[0][1]
  assert (workdir / "checkpoints/stage2/damaged-2").is_dir()
  assert_same_losses(process_run.lines(workdir), process_run.lines(alone))


# In the second process no file can grow while step 2 is saved.
FULL = """
import resource, jax
from ltu_jax import checkpoint_save
checkpoint_save._SAVE_SECONDS = 20
save, settle = checkpoint_save.Saves.save, checkpoint_save.Saves.settle
def limit(size):
  if jax.process_index() == 1:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
def save_in_vain(self, step, *args, **kwargs):
  done = save(self, step, *args, **kwargs)
  if step == 2:
    limit(0)
  return done
def settle_and_lift(self):
  if self._saving != 2:
    return settle(self)
  try:
    return settle(self)
  finally:
    limit(resource.RLIM_INFINITY)
checkpoint_save.Saves.save = save_in_vain
checkpoint_save.Saves.settle = settle_and_lift
"""


@pytest.mark.slow
def test_a_save_that_fails_in_one_process_is_made_again(
  sounds, twenty, tmp_path
):
  workdir = tmp_path / "run"
  done = train(sounds, workdir, 2, 2, TWENTY, before=FULL)
  told = done[0][2].split("stage2/2: this checkpoint could not be saved")[1]
  assert "process 1: " in told and "Steps that are safe: 1." in told
  assert_same_losses(process_run.lines(workdir), process_run.lines(twenty))
  assert sorted(p.name for p in workdir.glob("checkpoints/stage2/*")) == [
    *("19", "20")
  ]


@pytest.mark.slow
def test_two_processes_share_a_bucket_and_no_disk(
  sounds, alone, bucket, tmp_path
):
  """Each has a temporary folder of its own; what is loaded is the same."""
  address = f"gs://{BUCKET}/runs/two"
  train(sounds, address, 2, 2)
  here = tmp_path / "here"
  bucket.download("runs/two", here)
  assert_same_losses(process_run.lines(here), process_run.lines(alone))
  hashes = {base.info(w / "base").content_hash for w in (here, alone)}
  assert len(hashes) == 1
  parts = {path.name for path in here.rglob("ocdbt.process_*")}
  assert parts >= {"ocdbt.process_0", "ocdbt.process_1"}  # both wrote
  loaded = [nnx.state(load_model(x).model) for x in (address, here)]
  assert bits(nnx.to_pure_dict(loaded[0])) == bits(nnx.to_pure_dict(loaded[1]))
  for workdir, out in ((address, "a"), (here, "b")):
    flags = [f"--workdir={workdir}", f"--out={tmp_path / out}"]
    assert convert.main(["export", "--format=bundle", *flags]) == 0
  for file in (tmp_path / "b").glob("*.*"):
    assert (tmp_path / "a" / file.name).read_bytes() == file.read_bytes()
