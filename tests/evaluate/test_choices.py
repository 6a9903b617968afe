"""When an answer to a multiple-choice question is right, by the owners' rules.

The cases follow from MMAU's evaluation.py (`string_match`) and AIR-Bench's
score_foundation.py, read line by line.
"""

import hypothesis
import pytest
from hypothesis import strategies as st

from ltu_jax.evaluate import choices

FOUR = ("Man", "A woman", "An adult man", "Robot")


@pytest.mark.parametrize(
  ("answer", "truth", "right"),
  [
    ("Man", "Man", True),
    ("It is a MAN.", "Man", False),  # "a" is a word of "A woman" alone.
    ("The answer: man!", "Man", True),
    ("adult man", "Man", False),
    ("man, an adult", "An adult man", True),  # In any order.
    ("An adult man", "Man", False),
    ("adult man", "An adult man", False),  # "an" is missing.
    ("robots", "Robot", False),
    ("Robot or a woman", "Robot", False),
    ("", "Man", False),
    ("...", "Man", False),
  ],
)
def test_mmau(answer, truth, right):
  assert choices.mmau(answer, truth, FOUR) is right


def test_mmau_choices_that_are_there_twice():
  numbers = ("four", "nine", "fourteen", "fourteen")
  assert choices.mmau("fourteen", "fourteen", numbers)
  assert not choices.mmau("four", "fourteen", numbers)


def test_mmau_numbers_are_compared_by_their_digits():
  times = ("1.63 seconds", "2.74 seconds", "1.53 seconds")
  assert choices.mmau("1.63 seconds", "1.63 seconds", times)
  # "1" is in the right one, "53" only in a wrong one.
  assert not choices.mmau("1.53 or 1.63 seconds", "1.63 seconds", times)


@hypothesis.given(
  st.lists(st.text(alphabet="aB1 .é_", min_size=1), min_size=2), st.data()
)
def test_mmau_the_right_choice_is_right_where_it_has_a_word(all_, data):
  truth = data.draw(st.sampled_from(all_))
  has_word = any(c.isalnum() or c == "_" for c in truth)
  assert choices.mmau(truth, truth, all_) is has_word


@pytest.mark.parametrize(
  ("answer", "letter"),
  [
    ("A", "A"),
    ("B. two", "B"),
    (" \nC", "C"),
    ("The answer is D.", "D"),
    ("The answer is\nB)", "B"),
    ("A bell", "A"),  # An article counts as the letter, at the owners' too.
    ("Answer: B.", "A"),
    ("The answer is B", None),  # Last, not last but one.
    ("two", None),
    ("b", None),
    ("E", None),
    ("None", None),
    ("", None),
  ],
)
def test_air_bench(answer, letter):
  four = ("one", "two", "three", "four")
  assert choices.air_bench_letter(answer) == letter
  for right, truth in zip("ABCD", four, strict=True):
    expected = None if letter is None else letter == right
    assert choices.air_bench(answer, truth, four) is expected


def test_air_bench_a_letter_beyond_the_choices_is_wrong():
  assert choices.air_bench("D", "yes", ("yes", "no")) is False
