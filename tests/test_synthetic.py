"""Made-up batches, and dry runs of every published stage config on them."""

import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from configs import curriculum, stage1, stage2, stage3, stage4
from ltu_jax import base_reader, train
from ltu_jax.config import ConfigError
from ltu_jax.data.buckets import Shape
from ltu_jax.data.synthetic import SyntheticBatches
from no_tensorflow import NO_TENSORFLOW

ROOT = pathlib.Path(__file__).parent.parent
BATCHES = SyntheticBatches(8, 3, 50, max_tokens=20, num_threads=0)


def first(batches, num, places=None):
  return [*itertools.islice(iter(batches.dataset(places)), num)]


def test_form_and_targets():
  (batch,) = first(BATCHES, 1)
  forms = {k: (v.dtype.name, v.shape) for k, v in batch.items()}
  text = (8, 20)
  assert forms == {
    "pcm": ("int16", (8, 164080)),
    "num_samples": ("int32", (8,)),
    "tokens": ("int32", text),
    "positions": ("int32", text),
    "segment_ids": ("int32", text),
    "loss_weights": ("float32", text),
  }
  real = batch["segment_ids"] == 1
  assert batch["tokens"].max() < 50 and not batch["tokens"][~real].any()
  assert (batch["loss_weights"][:, 1:] == real[:, 1:]).all()
  assert not batch["loss_weights"][:, 0].any()
  assert (batch["positions"][:, 0] == 32).all()
  assert batch["pcm"].std() > 1000


def test_packed_rows():
  packed = SyntheticBatches(
    64, 3, 50, max_tokens=20, row_tokens=50, questions_per_row=4, num_threads=0
  )
  (batch,) = first(packed, 1)
  assert batch["tokens"].shape == (64, 50)
  assert packed.shape(0) == Shape(64, 50)
  ids = batch["segment_ids"]
  # Of 10 to 20 tokens: two at least, four at most fit.
  assert set(ids.max(1)) == {2, 3, 4}
  starts = np.diff(ids, axis=1, prepend=0) > 0
  assert (batch["positions"][starts] == 32).all()
  assert (batch["loss_weights"] == ((ids > 0) & ~starts)).all()
  for row in ids:
    lengths = np.bincount(row)[1:]
    assert ((lengths >= 10) & (lengths <= 20)).all()


def test_hosts_and_restarts_change_nothing():
  whole = first(BATCHES, 3)
  places = [[0, 2, 3], [1, 4, 5, 6, 7]]
  hosts = [first(BATCHES, 3, share) for share in places]
  iterator = iter(BATCHES.dataset())
  next(iterator)
  again = iter(BATCHES.dataset())
  again.set_state(iterator.get_state())
  for key in whole[0]:
    for step in range(3):
      for host in (0, 1):
        np.testing.assert_array_equal(
          whole[step][key][places[host]], hosts[host][step][key]
        )
    assert (whole[0][key] != whole[1][key]).any() or key == "num_samples"
  np.testing.assert_array_equal(next(again)["pcm"], whole[1]["pcm"])
  other = SyntheticBatches(8, 4, 50, max_tokens=20, num_threads=0)
  assert (first(other, 1)[0]["pcm"] != whole[0]["pcm"]).any()


def test_rows_that_no_batch_has():
  with pytest.raises(ValueError, match=r"\[8\] of a batch of 8 rows"):
    BATCHES.dataset([8])


@pytest.mark.parametrize(
  "module, stages",
  [
    pytest.param(stage1, [1], marks=pytest.mark.slow),
    pytest.param(stage2, [2], marks=pytest.mark.slow),
    pytest.param(stage3, [3], marks=pytest.mark.slow),
    pytest.param(stage4, [4], marks=pytest.mark.slow),
    pytest.param(curriculum, [1, 2, 3, 4], marks=pytest.mark.slow),
  ],
  ids=lambda x: getattr(x, "__name__", ""),
)
def test_dry_run(module, stages, tmp_path):
  config = module.get_config("tiny")
  config.data.source = "synthetic"
  train.run(config, str(tmp_path))
  lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").open()]
  want = [(stage, step) for stage in stages for step in (1, 2, 3)]
  assert [(x["stage"], x["step"]) for x in lines] == want
  # Ids at random: near the loss of a guess among 384.
  assert all(abs(x["loss"] - np.log(384)) < 2 for x in lines)


@pytest.mark.slow
def test_base_of_integers(tmp_path):
  losses, weights = {}, {}
  for kind in ("", "int8"):
    config = stage4.get_config("tiny")
    config.data.source = "synthetic"
    config.model.llama.base_dtype = kind
    root = tmp_path / (kind or "full")
    train.run(config, str(root))
    lines = (root / "metrics.jsonl").open()
    losses[kind] = [json.loads(x)["loss"] for x in lines]
    weights[kind] = base_reader.BaseReader(root / "base")
  # Near, but not the same.
  off = np.abs(np.subtract(losses["int8"], losses[""]))
  assert (off > 0).all() and (off < 0.05).all()
  # What is stored, and so what is exported, has not been rounded.
  assert weights[""].shapes.keys() == weights["int8"].shapes.keys()
  name = "llama/layers/0/q_proj/w"
  one, two = (reader.read(name) for reader in weights.values())
  assert one.dtype == two.dtype == "bfloat16" and (one == two).all()


def test_a_base_of_integers_cannot_be_trained(tmp_path):
  config = stage4.get_config("tiny")
  config.data.source = "synthetic"
  config.model.llama.base_dtype = "int8"
  config.stages.stage4.trainable = ("^llama/",)
  with pytest.raises(ConfigError, match="base_dtype"):
    train.run(config, str(tmp_path))
  assert not (tmp_path / "config.json").exists()


@pytest.mark.slow
def test_the_command_needs_no_tensorflow(tmp_path):
  argv = [
    "main",
    "--config=configs/stage4.py:tiny",
    "--config.data.source=synthetic",
    "--config.stages.stage4.steps=2",
    f"--workdir={tmp_path / 'run'}",
    f"--compile_cache={tmp_path / 'compiled'}",
  ]
  code = (
    f"{NO_TENSORFLOW}\nsys.argv = {argv!r}\n"
    "from ltu_jax import main; main.run()"
  )
  command = [sys.executable, "-c", code]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  assert "stage 4  step 2/2" in done.stdout
  assert list((tmp_path / "compiled").glob("jit_step-*-cache"))


def test_a_stage_without_steps_is_told_to_name_them(tmp_path):
  config = stage4.get_config("tiny")
  config.data.source = "synthetic"
  config.stages.stage4.steps = 0
  with pytest.raises(ConfigError, match=r"stage4\.steps"):
    train.run(config, str(tmp_path))
