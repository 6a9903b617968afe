"""Counts by kind with examples."""

import pytest

from tfds_builders.openaqa.full.tally import Tally

RULES = {"missing": "left out", "damaged": "left out too", "cut": "used"}


def test_counts_and_keeps_the_first_examples():
  tally = Tally(RULES)
  for i in range(9):
    tally.add("damaged", f"clip {i}")
  tally.add("missing", "x" * 1000)
  got = tally.as_json()
  assert list(got) == ["missing", "damaged"]  # In the order of the rules.
  assert got["damaged"]["count"] == 9
  assert got["damaged"]["examples"] == [f"clip {i}" for i in range(5)]
  assert got["damaged"]["rule"] == "left out too"
  assert len(got["missing"]["examples"][0]) == 400
  assert tally.counts == {"damaged": 9, "missing": 1}


def test_what_others_counted_is_added():
  tally, other = Tally(RULES), Tally(RULES)
  for i in range(3):
    tally.add("cut", f"a{i}")
    other.add("cut", f"b{i}")
  other.add("missing", "c")
  tally.merge(other.as_json())
  assert tally.counts == {"cut": 6, "missing": 1}
  assert tally.examples["cut"] == ["a0", "a1", "a2", "b0", "b1"]


def test_a_kind_without_a_rule_is_an_error():
  with pytest.raises(KeyError, match="stolen: no such kind; there are"):
    Tally(RULES).add("stolen", "clip")


def test_an_example_is_one_line_that_no_terminal_obeys():
  tally = Tally(RULES)
  tally.add("cut", "a\nb\x1b[2Jc\u0085é")
  assert tally.examples["cut"] == [r"a\nb\x1b[2Jc\x85é"]
