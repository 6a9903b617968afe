"""Losses read from a run's file, and their picture."""

import json
import math

import numpy as np
import pytest
from matplotlib import image

from ltu_jax import losses
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.curriculum import Stage
from ltu_jax.evaluate import curves
from ltu_jax.metrics import Metrics

STAGES = (Stage(1, "short"), Stage(2, "long"), Stage(3, "not trained"))


@pytest.fixture
def path(tmp_path):
  """Stage 1: 5 steps; stage 2: 25 steps with one loss that is NaN."""
  with Metrics(tmp_path) as metrics:
    for step in range(1, 6):
      metrics.write(1, step, {"loss": 9.0 - step, "lr": 0.1})
    for step in range(1, 26):
      loss = math.nan if step == 7 else 2 / step
      metrics.write(2, step, {"loss": loss, "lr": 0.01 * step})
  return tmp_path / "metrics.jsonl"


def test_read(path):
  short, long, untrained = losses.read(path, STAGES)
  np.testing.assert_array_equal(short.step, [1, 2, 3, 4, 5])
  np.testing.assert_array_equal(short.loss, [8, 7, 6, 5, 4])
  assert np.flatnonzero(np.isnan(long.loss)).tolist() == [6]
  assert long.rate[-1] == 0.25
  assert short.as_json() == {
    "stage": 1,
    "name": "short",
    "steps": 5,
    "first_loss": 8.0,
    "last_loss": 4.0,
    # A tenth of five steps, and at least one.
    "mean_loss_last_tenth": 4.0,
  }
  # The last three of 25 steps.
  expected = (2 / 23 + 2 / 24 + 2 / 25) / 3
  assert long.last_tenth == pytest.approx(expected, rel=1e-12)
  assert untrained.as_json()["steps"] == 0
  json.dumps([c.as_json() for c in (short, long, untrained)], allow_nan=False)


def test_torn_last_line_and_missing_file(path, tmp_path):
  with path.open("a") as file:
    file.write('{"stage": 2, "st')
  assert len(losses.read(path, STAGES)[1].step) == 25
  assert not len(losses.read(tmp_path / "none", STAGES)[0].step)


@pytest.mark.parametrize(
  ("line", "why"),
  [
    ("[1]", "no JSON object"),
    ('{"stage": 1}', "step is no number of a step"),
    ('{"stage": "1", "step": 1}', "stage is no number of a stage"),
    ('{"stage": 1, "step": 1, "loss": "2"}', "loss is no number"),
    ('{"stage": 1, "step": 1, "lr": [1]}', "lr is no number"),
    (f'{{"stage": 1, "step": 1{"0" * 400}}}', "step is no number"),
    ("[" * 100_000, "nested too deeply"),
    ("\udcff", "utf-8"),
  ],
)
def test_a_line_of_another_kind_is_named(path, line, why):
  with path.open("a", errors="surrogateescape") as file:
    file.write(f"{line}\n")
  with pytest.raises(CheckpointError, match=rf"jsonl: line 31 .*{why}"):
    losses.read(path, STAGES)


def test_smooth_is_a_mean_that_leaves_out_nan():
  values = np.array([1.0, 2.0, np.nan, 4.0, 6.0])
  # Windows of three, cut at the ends.
  np.testing.assert_allclose(
    curves.smooth(values), [1.5, 1.5, 3.0, 5.0, 5.0], rtol=1e-12
  )
  np.testing.assert_allclose(curves.smooth(np.full(200, 3.0)), 3.0, rtol=1e-12)
  assert np.isnan(curves.smooth(np.full(3, np.nan))).all()


def test_picture(path, tmp_path):
  found = losses.read(path, STAGES)
  curves.draw(found, tmp_path / "curves.png")
  pixels = image.imread(tmp_path / "curves.png")
  height, width, _ = pixels.shape
  assert (width, height) == (1320, 780)
  hex_color = lambda text: [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
  has = lambda color: np.all(
    np.abs(pixels[..., :3] - hex_color(color)) < 0.02, axis=-1
  )
  # The running mean crosses both stages, above; the rate, below.
  smoothed, rate = has(curves._SMOOTH), has(curves._RATE)
  assert np.ptp(np.flatnonzero(smoothed.any(0))) > 0.8 * width
  assert np.ptp(np.flatnonzero(rate.any(0))) > 0.8 * width
  assert (
    np.flatnonzero(smoothed.any(1)).max() < np.flatnonzero(rate.any(1)).min()
  )
  # The end of stage 1 is marked after 5 of 30 steps in both parts.
  edges = np.flatnonzero(has(curves._EDGE).sum(0) > 0.3 * height)
  axis = np.flatnonzero(smoothed.any(0))
  place = (edges - axis.min()) / np.ptp(axis)
  # From step 1 to 30 of the curve; a line is a few pixels wide.
  assert np.any(np.abs(place - 4 / 29) < 0.02)
