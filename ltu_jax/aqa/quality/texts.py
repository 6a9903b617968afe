"""Gates that look at one question and its answer alone."""

import dataclasses
import re

from ltu_jax.aqa.quality import language
from ltu_jax.aqa.quality.flag import Flag, Kind
from ltu_jax.aqa.quality.phrases import Phrases, plain
from ltu_jax.aqa.quality.words import words

_NUMBER = r"\d{1,6}(?:\.\d{1,6})?"
_UNIT = r"(?:s|secs?|seconds?)"
# [0.0s-1.2s]; 3.4s; from 0 to 1.2 seconds, between 2s and 3s; at 3.4 seconds.
# A length, as `lasts about 3 seconds` or `2 to 3 seconds long`, is none.
_STAMP = re.compile(
  rf"\b\d{{1,6}}\.\d{{1,6}} ?s\b"
  rf"|\b{_NUMBER} ?s ?[-\u2013] ?{_NUMBER} ?s\b"
  rf"|\bfrom {_NUMBER} ?{_UNIT}? ?(?:to|until|-|\u2013) ?{_NUMBER} ?{_UNIT}\b"
  rf"|\bbetween {_NUMBER} ?{_UNIT}? ?and ?{_NUMBER} ?{_UNIT}\b"
  rf"|\b(?:at|until) (?:about |around )?\d{{1,6}}\.\d{{1,6}} ?{_UNIT}\b"
  r"|\b00?:\d\d\b"
)
_STAMP_REASON = "a time stamp"


@dataclasses.dataclass(frozen=True)
class Limits:
  """Words that texts must have: at least, at most.

  Attributes:
    question: Of the question.
    answer: Of the answer. 80 words are about 104 tokens, and the published
      recipe cuts a row at 108, with the question.
  """

  question: tuple[int, int] = (3, 60)
  answer: tuple[int, int] = (2, 80)


def flags(
  kind: Kind, question: str, answer: str, limits: Limits, phrases: Phrases
) -> list[Flag]:
  """Returns what the gates of single texts say; see gates.GATES.

  Args:
    kind: The kind of question. Bare labels and times are no sentences, and have
      no flag; captions are looked at for language and length.
    question: What is asked.
    answer: What is answered.
    limits: Words to have.
    phrases: What to look for.

  Returns:
    One flag a gate at most.
  """
  if kind is Kind.LABELS:
    return []
  reasons = {
    "language": language.foreign(question) or language.foreign(answer),
    "length": _length("question", question, limits.question)
    or _length("answer", answer, limits.answer),
  }
  if kind is Kind.OPEN:
    question, answer = plain(question), plain(answer)
    reasons["unanswerable"] = phrases.unanswerable.find(answer)
    reasons["leak"] = _leak(question, phrases) or _leak(answer, phrases)
  return [Flag(gate, reason) for gate, reason in reasons.items() if reason]


def _length(name: str, text: str, limits: tuple[int, int]) -> str | None:
  """What is wrong with the length of a text."""
  count = len(words(text))
  if count < limits[0]:
    return f"{name} has fewer than {limits[0]} words"
  if count > limits[1]:
    return f"{name} has more than {limits[1]} words"
  return None


def _leak(text: str, phrases: Phrases) -> str | None:
  """What shows that the text speaks of the meta information."""
  return phrases.leak.find(text) or (
    _STAMP_REASON if _STAMP.search(text) else None
  )
