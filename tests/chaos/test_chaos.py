"""Twelve stories: every kind of fault, nothing lost."""

import pytest

from tests.chaos import faults
from tests.chaos.__main__ import play_all, table
from tests.chaos.story import choose

_SEEDS = (*range(11), 13)
"""The first stories that have every fault; 11 and 12 add none."""


def test_a_few_stories_have_every_fault():
  names = {
    f.__name__ for seed in _SEEDS for p in choose(seed, 1) for f in p if f
  }
  assert names == {f.__name__ for f in (*faults.STARTS, *faults.BETWEEN)}


@pytest.mark.slow
def test_nothing_is_lost(tmp_path):
  # One at a time: another slow test runs beside it. The command's stories
  # have up to three broken starts in a row.
  told = play_all(_SEEDS, tmp_path, jobs=1, most=1)
  print(table(told))
  assert len(told) == len(_SEEDS)
  assert not [story for story in told if story.lost]
