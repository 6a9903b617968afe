"""Whether an answer to a multiple-choice question is right, as owners judge.

Each set's owners have a rule of their own, which published results stand on.
"""

import re
from collections.abc import Sequence

_LETTERS = "ABCD"


def mmau(answer: str, truth: str, choices: Sequence[str]) -> bool:
  """MMAU's rule: all words of the right choice, and none of only wrong ones.

  Upper and lower case and the order of words do not matter. Words that a wrong
  choice shares with the right one are allowed.

  Args:
    answer: What the model said.
    truth: The right choice.
    choices: All choices.
  """
  said, right = _words(answer), _words(truth)
  wrong = {word for choice in choices for word in _words(choice)} - right
  return bool(said) and right <= said and not said & wrong


def air_bench(answer: str, truth: str, choices: Sequence[str]) -> bool | None:
  """AIR-Bench's rule: the letter that an answer begins with or ends in.

  That is the first character if it is A, B, C or D, else the last but one, as
  in "The answer is B.".

  Args:
    answer: What the model said.
    truth: The right choice.
    choices: All choices, A first.

  Returns:
    None if there is no such letter. The owners leave such answers out of the
    average.
  """
  letter = air_bench_letter(answer)
  return None if letter is None else letter == _LETTERS[choices.index(truth)]


def air_bench_letter(answer: str) -> str | None:
  """The letter that AIR-Bench's owners take an answer for.

  Returns:
    A, B, C or D; None if there is none.
  """
  text = answer.strip().replace("\n", "")
  if text == "None":
    return None
  for letter in (text[:1], text[-2:-1]):
    if letter and letter in _LETTERS:
      return letter
  return None


def _words(text: str) -> set[str]:
  """Words in lower case; digits and underscores are letters of words."""
  return set(re.findall(r"\w+", text.lower()))


RULES = {"mmau": mmau, "air_bench": air_bench}
"""By name of the set."""
