"""Rows of several questions, and their order: what has to be true of any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltu_jax.data import packing

ROW = 20


@st.composite
def questions(draw):
  """Clips and lengths of some questions, in an order of any kind."""
  size = draw(st.integers(1, 60))
  some = lambda most: st.lists(
    st.integers(1, most), min_size=size, max_size=size
  )
  return np.array(draw(some(6))) * 7, np.array(draw(some(ROW)))


def pack(made, most, seed=0):
  clip, length = made
  return packing.pack(
    clip, length, questions_per_row=most, row_tokens=ROW, seed=seed
  )


def as_sets(plan):
  return {frozenset(plan[row].tolist()) for row in range(plan.num_rows)}


@settings(max_examples=200, deadline=None)
@given(questions(), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_plan(made, most, seed):
  clip, length = made
  plan = pack(made, most, seed)
  assert sorted(plan.questions.tolist()) == list(range(len(clip)))
  rows = [plan[row] for row in range(plan.num_rows)]
  np.testing.assert_array_equal(np.concatenate(rows), plan.questions)
  for row, of_clip, tokens in zip(rows, plan.clips, plan.tokens, strict=True):
    assert 1 <= len(row) <= most
    assert (clip[row] == of_clip).all()
    assert length[row].sum() == tokens <= ROW
  assert (np.diff(plan.clips) >= 0).all()
  # Any two rows with room for a question hold more than a row's tokens, or one
  # would have gone into the other.
  for of_clip in np.unique(clip):
    here = plan.clips == of_clip
    sizes = np.array([len(row) for row in rows])[here]
    open_ = np.sort(plan.tokens[here][sizes < most])
    assert len(open_) < 2 or open_[:2].sum() > ROW
  again = pack(made, most, seed)
  np.testing.assert_array_equal(again.questions, plan.questions)
  np.testing.assert_array_equal(again.starts, plan.starts)


def by_hand(clip, length, most, keys):
  """The same rule, question by question."""
  rows = []
  for q in sorted(range(len(clip)), key=lambda q: (-length[q], keys[q])):
    fits = [
      row
      for row in rows
      if clip[row[0]] == clip[q]
      and len(row) < most
      and length[row].sum() + length[q] <= ROW
    ]
    if fits:
      max(fits, key=lambda row: length[row].sum()).append(q)
    else:
      rows.append([q])
  return {frozenset(row) for row in rows}


@settings(max_examples=100, deadline=None)
@given(questions(), st.integers(1, 5))
def test_a_plan_is_that_of_the_rule_question_by_question(made, most):
  # Different lengths, so that nothing is left to chance: of rows that are
  # equally full the first is taken by both.
  clip, length = made
  keys = np.random.Philox(key=[0, 0]).random_raw(len(clip))
  assert as_sets(pack(made, most)) == by_hand(clip, length, most, keys)


def test_the_seed_decides_who_are_together():
  clip, length = np.zeros(12, int), np.full(12, 5)
  found = {frozenset(as_sets(pack((clip, length), 4, s))) for s in range(6)}
  assert len(found) == 6


def test_the_plan_of_a_seed_stays_the_same():
  """A run that goes on after an update of NumPy needs the same rows."""
  made = np.arange(40) // 8, np.arange(40) * 7 % 19 + 1
  plan = pack(made, 3, seed=5)
  order = packing.Order(plan.clips, 5)
  assert plan.questions[:12].tolist() == PLAN
  assert [order[i] for i in range(12)] == ORDER


PLAN = [5, 3, 2, 6, 7, 1, 4, 0, 8, 13, 14, 10]
ORDER = [14, 7, 20, 10, 1, 16, 4, 21, 9, 15, 0, 5]


def test_what_cannot_be_packed():
  with pytest.raises(ValueError, match="cannot take a question of 21"):
    pack((np.zeros(1, int), np.array([21])), 2)
  with pytest.raises(ValueError, match="no questions"):
    pack((np.zeros(0, int), np.zeros(0, int)), 2)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(0, 99))
def test_an_order(counts, seed):
  clips = np.repeat(np.arange(len(counts)) * 3, counts)
  order = packing.Order(clips, seed)
  epochs = [order.epoch(e) for e in range(3)]
  for number, epoch in enumerate(epochs):
    assert sorted(epoch.tolist()) == list(range(len(clips)))
    first = number * len(clips)
    assert [order[first + i] for i in range(len(clips))] == epoch.tolist()
  again = packing.Order(clips, seed)
  np.testing.assert_array_equal(again.epoch(2), epochs[2])


def test_rows_of_a_clip_are_far_apart_and_anywhere():
  counts = np.random.default_rng(0).integers(1, 9, 4000)
  clips = np.repeat(np.arange(4000), counts)
  order = packing.Order(clips, 7)
  epochs = np.array([order.epoch(e) for e in range(20)])
  assert (epochs[0] != epochs[1]).mean() > 0.99
  place = np.empty(len(clips), int)
  place[epochs[0]] = np.arange(len(clips))
  for clip in range(4000):
    own = np.sort(place[clips == clip])
    # R / k rows lie between in the mean; the number of those of the other
    # clips is random, with a deviation below sqrt(R) = 134: five of them.
    even = len(clips) / len(own)
    assert (np.abs(np.diff(own) - even) < 670).all()
  # Each row's mean place over epochs is the middle: R / 2 with a deviation of
  # R / sqrt(12 * 20); five of them. The first of a clip comes no earlier.
  places = np.argsort(epochs, axis=1) / len(clips)
  assert (np.abs(places.mean(0) - 0.5) < 5 / np.sqrt(240)).all()
  firsts = np.cumsum(counts) - counts
  # 4000 rows in 20 epochs.
  assert abs(places[:, firsts].mean() - 0.5) < 5 / np.sqrt(12 * 80_000)


def test_epochs_are_made_once_and_the_latest_kept():
  made = []
  kept = packing.Kept(lambda epoch: made.append(epoch) or epoch * 10)
  assert [kept(e) for e in (0, 0, 1, 0, 1, 2, 1, 0)] == [
    0, 0, 10, 0, 10, 20, 10, 0,
  ]  # fmt: skip
  assert made == [0, 1, 2, 0]
