"""A run on packed rows in batches of two widths, from sounds to weights."""

import jax
import numpy as np
import pytest
from flax import nnx

import process_run
from ltu_jax import metrics, train
from ltu_jax.config import ConfigError
from ltu_jax.data import text_lengths
from ltu_jax.trained import load_trained
from tiny_run import tiny

CHANGES = {
  "data.questions_per_row": 4,
  "data.row_tokens": 192,
  # 24 rows, and 8 of the widest, which eight devices divide.
  "data.length_buckets": (64,),
  "data.drop_audio": 0.2,
  "stages.stage2.steps": 5,
}


def packed(sounds):
  config = tiny(sounds)
  config.stages = {"stage2": config.stages.stage2.to_dict()}
  config.update_from_flattened_dict(CHANGES)
  return config


def losses(workdir):
  return [line["loss"] for line in process_run.lines(workdir)]


def weights(workdir):
  return jax.tree.leaves(nnx.state(load_trained(workdir).model))


@pytest.mark.slow
def test_a_run(sounds, tmp_path, monkeypatch, capsys):
  train.run(packed(sounds), str(tmp_path / "whole"))
  out = capsys.readouterr().out
  assert "counted the tokens of" in out and " a row; a step has " in out
  whole = losses(tmp_path / "whole")
  assert len(whole) == 5
  # Rows that the last batch of an epoch lacks are no clips that were skipped.
  assert not any("skipped" in x for x in process_run.lines(tmp_path / "whole"))

  # Killed between two checkpoints: goes on to the same bits, counting no more.
  write = metrics.Metrics.write

  def dies(self, stage, step, values):
    if step == 3:
      raise KeyboardInterrupt
    write(self, stage, step, values)

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(metrics.Metrics, "write", dies)
    train.run(packed(sounds), str(tmp_path / "killed"))
  with monkeypatch.context() as patch:
    patch.setattr(text_lengths, "measure", None)
    train.run(packed(sounds), str(tmp_path / "killed"))
  assert "stage 2: going on at step" in capsys.readouterr().out
  assert losses(tmp_path / "killed") == whole
  pairs = zip(
    weights(tmp_path / "killed"), weights(tmp_path / "whole"), strict=True
  )
  for a, b in pairs:
    np.testing.assert_array_equal(a, b)

  # Two processes: the second finds what the first has counted.
  changes = CHANGES | {"mesh.data": 2, "mesh.fsdp": 2, "mesh.tensor": 1}
  changes |= {"stages.stage2.steps": 5}
  done = process_run.finish(
    process_run.start(sounds, tmp_path / "two", 2, 2, changes)
  )
  assert [status for status, _, _ in done] == [0, 0], done[0][2][-3000:]
  # The same float32 numbers, summed in another order.
  np.testing.assert_allclose(losses(tmp_path / "two"), whole, rtol=1e-5)


@pytest.mark.parametrize(
  "changes, words",
  [
    (
      {"data.row_tokens": 60},
      "config.data.row_tokens is 60, too few for a question of"
      " config.data.max_tokens 64",
    ),
    (
      {"stages.stage2.max_tokens": 200},
      "config.data.row_tokens is 192, too few for a question of"
      " config.stages.stage2.max_tokens 200",
    ),
    (
      {"data.questions_per_row": 1},
      "config.data.row_tokens is 192, but config.data.questions_per_row is 1",
    ),
    (
      {"data.length_buckets": (64, 128)},
      "config.data.length_buckets: batches of 128 tokens have 12 rows, which"
      " cannot be cut into 8 parts",
    ),
    (
      {"data.length_buckets": (64, 64)},
      "config.data.length_buckets is (64, 64); it must be whole numbers >= 2",
    ),
    (
      {"data.length_buckets": ("64",)},
      "config.data.length_buckets is ('64',); it must be a tuple of whole num",
    ),
    ({"data.questions_per_row": 0}, "questions_per_row is 0; it must be >= 1"),
    (
      {"stages.stage2.steps": 0, "stages.stage2.epochs": 0.0},
      "config.stages.stage2.steps: ",
    ),
  ],
)
def test_what_cannot_be_packed_is_told(sounds, tmp_path, changes, words):
  config = packed(sounds)
  with config.ignore_type():
    config.update_from_flattened_dict(changes)
  with pytest.raises(ConfigError) as told:
    train.run(config, str(tmp_path / "run"))
  (line,) = str(told.value).splitlines()
  assert words in line
