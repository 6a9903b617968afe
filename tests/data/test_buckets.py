"""Batches of rows of about one length: what has to be true of any."""

import collections

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ltu_jax.data.buckets import PADDING, Buckets, Shape, shapes

SHAPES = (Shape(6, 3), Shape(4, 8), Shape(2, 20))


@settings(max_examples=100, deadline=None)
@given(
  st.lists(
    st.lists(st.integers(1, 20), min_size=1, max_size=5),
    min_size=1,
    max_size=30,
  ),
  st.integers(0, 99),
)
def test_buckets(of_clips, seed):
  clips = np.repeat(np.arange(len(of_clips)), [len(x) for x in of_clips])
  tokens = np.concatenate(of_clips)
  found = Buckets(clips, tokens, SHAPES, seed)
  for epoch in range(3):
    every, kinds = [], collections.Counter()
    for step in range(found.num_steps):
      rows, shape = found[epoch * found.num_steps + step]
      assert len(rows) == shape.rows and shape in SHAPES
      here = rows[rows != PADDING]
      assert len(here) and (tokens[here] <= shape.tokens).all()
      # Only the last batch of the widest lacks rows.
      assert len(here) == shape.rows or shape == SHAPES[-1]
      kinds[shape, len(here) == shape.rows] += 1
      every += here.tolist()
    assert sorted(every) == list(range(len(tokens)))
    assert kinds[SHAPES[-1], False] <= 1
    # As many narrow batches as there can be.
    narrow = (tokens <= SHAPES[0].tokens).sum()
    assert kinds[SHAPES[0], True] == narrow // SHAPES[0].rows
  again = Buckets(clips, tokens, SHAPES, seed)
  step = 2 * found.num_steps
  np.testing.assert_array_equal(again[step][0], found[step][0])


def test_epochs_differ_and_shapes_come_mixed():
  tokens = np.random.default_rng(0).integers(1, 21, 2000)
  found = Buckets(np.arange(2000), tokens, SHAPES, 3)
  steps = [found[i] for i in range(found.num_steps)]
  later = [found[found.num_steps + i] for i in range(found.num_steps)]
  # Of 60 batches of 6 rows none has the same rows again by chance.
  first, other = (
    {tuple(rows) for rows, shape in some if shape == SHAPES[0]}
    for some in (steps, later)
  )
  assert len(first) > 40 and not first & other
  # Half of an epoch has half of each shape's steps, within five deviations.
  for shape in SHAPES:
    is_shape = np.array([shape == other for _, other in steps])
    count = is_shape.sum()
    early = is_shape[: len(steps) // 2].sum()
    assert count > 40 and abs(early - count / 2) < 5 * np.sqrt(count) / 2


def test_shapes_have_as_many_questions():
  assert shapes([48, 72, 108], 10, False) == [
    Shape(10, 48), Shape(10, 72), Shape(10, 108)
  ]  # fmt: skip
  packed = shapes([128, 192, 256, 384, 512], 64, True)
  assert [s.rows for s in packed] == [256, 160, 128, 80, 64]
  assert all(0.8 < s.rows * s.tokens / (64 * 512) <= 1 for s in packed)
  # 4 does not divide it: only multiples of it can be cut as it can.
  assert [s.rows for s in shapes([100, 200, 300], 6, True)] == [18, 6, 6]
