"""Trees of answers: facts about them that are known from the answers alone."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from ltu_jax.answers import branches

# Few tokens, so that many answers begin alike or are equal.
answers_ = st.lists(
  st.lists(st.integers(5, 7), max_size=6).map(tuple), min_size=1, max_size=12
)


@hypothesis.given(answers_, st.integers(6, 30))
def test_every_answer_is_read_in_its_own_context(answers, slots):
  trees = branches.trees(answers, slots)
  assert sorted(n for tree in trees for n in tree.answers) == [
    *range(len(answers))
  ]
  for tree in trees:
    assert len(tree.tokens) == slots
    # What a slot sees: itself and what it comes after.
    k, q = np.arange(slots)[None], np.arange(slots)[:, None]
    seen = (k <= q) & (q <= tree.end[k])
    for number, path, last in zip(
      tree.answers, tree.paths, tree.last, strict=True
    ):
      path = path[path < slots]
      assert tuple(tree.tokens[path]) == answers[number]
      assert last == (path[-1] + 1 if len(path) else 0)
      for depth, slot in enumerate(path):
        assert tree.depth[slot] == depth
        assert tree.parent[slot] == (path[depth - 1] + 1 if depth else 0)
        np.testing.assert_array_equal(
          np.flatnonzero(seen[slot]), path[: depth + 1]
        )


@hypothesis.given(answers_, st.integers(6, 30))
def test_what_answers_share_is_read_once(answers, slots):
  for tree in branches.trees(answers, slots):
    of_tree = [answers[n] for n in tree.answers]
    beginnings = {a[:n] for a in of_tree for n in range(1, len(a) + 1)}
    assert np.count_nonzero(tree.tokens) == len(beginnings)


@hypothesis.given(answers_)
def test_one_tree_if_it_fits(answers):
  slots = branches.num_slots(answers, 128)
  assert len(branches.trees(answers, slots)) == 1
  beginnings = {a[:n] for a in answers for n in range(1, len(a) + 1)}
  assert max(16, len(beginnings)) <= slots < max(17, 2 * len(beginnings))


def test_a_long_answer_gets_the_slots_that_it_needs():
  answers = [(5,) * 40, (6,) * 10]
  assert branches.num_slots(answers, 16) == 64
  assert branches.num_slots([(n,) for n in range(100)], 16) == 16


def test_totals():
  [tree] = branches.trees([(5, 6), (5,), (), (5, 7, 8)], 16)
  value = {5: 1, 6: 20, 7: 300, 8: 4000}
  tokens = np.array([value.get(t, np.nan) for t in tree.tokens], np.float32)
  ends = np.arange(17, dtype=np.float32) / 100
  totals = dict(zip(tree.answers, tree.totals(tokens, ends), strict=True))
  want = {0: 21, 1: 1, 2: 0, 3: 4301}
  for number, total in want.items():
    end = ends[tree.last[list(tree.answers).index(number)]]
    assert totals[number] == total + np.float64(end)


def test_no_answers():
  tree = branches.empty(16)
  assert tree.totals(np.ones(16, np.float32), np.ones(17, np.float32)).size == 0
