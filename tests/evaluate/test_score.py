"""Shares and their intervals against numbers known from elsewhere."""

import json
import math

import pytest

from ltu_jax.evaluate.score import Score


@pytest.mark.parametrize(
  ("hits", "count", "low", "high"),
  [
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
    # (score, no continuity correction).
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
    # z^2 / (n + z^2) exactly, for no hit and its mirror image.
    (0, 10, 0.0, 0.2775),
    (10, 10, 0.7225, 1.0),
  ],
)
def test_interval(hits, count, low, high):
  # The table gives four decimals.
  assert Score(hits, count).interval == pytest.approx((low, high), abs=5.1e-5)


def test_interval_stays_within_0_and_1():
  for count in range(1, 200):
    for hits in (0, count):
      low, high = Score(hits, count).interval
      assert 0 <= low < high <= 1


def test_counts():
  score = Score.of([True, False, True, True])
  assert score == Score(3, 4)
  assert score.accuracy == 0.75


def test_nothing_is_no_number_and_valid_json():
  score = Score.of([])
  assert math.isnan(score.accuracy)
  assert json.loads(json.dumps(score.as_json(), allow_nan=False)) == {
    "hits": 0,
    "count": 0,
    "accuracy": None,
    "interval_95": None,
  }
