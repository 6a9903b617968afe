"""What a question asks for, by its words."""

from collections.abc import Sequence

from ltu_jax.aqa.quality.words import words

_ASKING = ("what", "which", "who", "where", "when", "why", "how")
_ALIKE = {"whose": "who", "whom": "who", "what's": "what", "who's": "who"}

_YES_NO = frozenset(
  words(
    "is are was were do does did can could will would should has have had may"
    " might isn't aren't doesn't don't can't"
  )
)

YES_NO, OTHER = "yes or no", "other"

TYPES = (*_ASKING, YES_NO, OTHER)
"""All types: the first word that asks; `yes or no` if the question begins with
a verb that asks; `other` for requests (`Describe ...`) and the rest."""


def question_type(asked: Sequence[str]) -> str:
  """Returns the type of a question.

  Args:
    asked: Its words in small letters.
  """
  if asked and asked[0].replace("\u2019", "'") in _YES_NO:
    return YES_NO
  for word in asked:
    word = word.replace("\u2019", "'")
    word = _ALIKE.get(word, word)
    if word in _ASKING:
      return word
  return OTHER
