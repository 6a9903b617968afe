"""The benchmarks of the training step measure what they say."""

import json
import pathlib
import subprocess
import sys

import pytest

import process_run
from benchmarks import vs_pytorch
from no_tensorflow import NO_TENSORFLOW

ROOT = pathlib.Path(__file__).parents[2]


def run(*flags, devices=4):
  argv = ["train_step", *flags]
  code = f"{NO_TENSORFLOW}\nsys.argv = {argv!r}\n" + (
    "from benchmarks import train_step; train_step.main()"
  )
  return subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    env=process_run.environment(devices),
    capture_output=True,
    text=True,
  )


@pytest.mark.slow
def test_train_step_without_tensorflow():
  done = run(
    "--config=configs/stage4.py:tiny",
    "--config.mesh.fsdp=2",
    "--config.mesh.tensor=2",
    "--config.data.questions_per_row=3",
    "--config.data.row_tokens=48",
    "--steps=2",
    "--json",
  )
  assert done.returncode == 0, done.stderr[-2000:]
  found = json.loads(done.stdout)
  assert (found["devices"], found["batch"], found["tokens"]) == (4, 8, 80)
  # Of 12 to 24 tokens: two or three in 48.
  assert 16 < found["questions_per_step"] < 24
  rate = found["batch"] / found["step_seconds"]
  questions = found["questions_per_step"] / found["step_seconds"]
  assert found["questions_per_second"] == pytest.approx(questions)
  assert found["tokens_per_second"] == pytest.approx(80 * rate)
  flops = found["model_flops"] * rate
  assert found["model_flops_per_second"] == pytest.approx(flops)
  assert found["share_of_matmul"] == pytest.approx(
    flops / 4 / found["matmul_rate"]
  )
  assert 0 < found["fastest_seconds"] <= found["step_seconds"]


@pytest.mark.parametrize(
  "flag, message",
  [
    ("--stage=1", "the config has [4]"),
    ("--config.data.batch_size=3", "cannot be cut over"),
    ("--steps=0", "--steps of 1 or more"),
  ],
)
def test_errors_are_one_line(flag, message):
  done = run("--config=configs/stage4.py:tiny", flag)
  assert done.returncode == 2 and not done.stdout
  assert message in done.stderr.splitlines()[-1]


def test_the_pytorch_model_is_the_same_model():
  size = vs_pytorch.SIZES["tiny"]
  # Two clips with two questions each, of 17 tokens in rows of 24.
  batch = vs_pytorch.make_batch(4, 24, 96, used=17, per_clip=2)
  kinds = ("ltu_jax", "packed", "eager")
  runs = vs_pytorch.steps(size, "float32", batch, kinds, packed=(2, 40))
  vs_pytorch.compare(runs, rtol=1e-4, num=2)
  longer = vs_pytorch.make_batch(4, 24, 96, used=18, per_clip=2)
  other = vs_pytorch.steps(size, "float32", longer, ("eager",))
  with pytest.raises(SystemExit, match="eager: these are not the losses"):
    vs_pytorch.compare({"ltu_jax": runs["ltu_jax"]} | other, rtol=1e-4, num=1)
