"""Questions and answers in what a language model wrote.

It was asked for JSON objects and writes something like them: in code fences,
with prose around, numbered, in a list, cut in the middle, and more that
objects.py reads. What can be meant in one way only is read; the rest is dropped
and counted.
"""

import collections
import dataclasses

from ltu_jax.aqa.asking.objects import BROKEN, CUT, Object
from ltu_jax.endpoint import thoughts

EMPTY = "empty"
"""A question or an answer without a letter or a digit."""

NO_ANSWER = "no answer"

NO_QUESTION = "no question"

NO_TEXT = "not a text"
"""A question or an answer that is a list, a number or the like."""

TOO_LONG = "too long"
"""The rest of a reply of over LONGEST characters: counted as one."""

LONGEST = 1 << 18
"""Characters of a reply that are read; ten pairs have 5,000."""

_KINDS = {
  "q": "q",
  "question": "q",
  "instruction": "q",
  "a": "a",
  "answer": "a",
  "output": "a",
}
"""What questions and answers are called, but for case and a number."""


@dataclasses.dataclass(frozen=True)
class Parsed:
  """What is in one reply, or in many.

  Attributes:
    pairs: Questions and answers, in order.
    dropped: How many were dropped, by reason.
  """

  pairs: tuple[tuple[str, str], ...]
  dropped: collections.Counter


def parse(reply: str) -> Parsed:
  """Reads the pairs in a reply.

  Args:
    reply: Any text.

  Returns:
    Pairs without spaces around their texts, and what was dropped.
  """
  text = thoughts.without(reply)
  made = _Pairs()
  if len(text) > LONGEST:
    text = text[:LONGEST]
    made.dropped[TOO_LONG] += 1
  at = text.find("{")
  while at >= 0:
    found = Object(text, at)
    made.add(found)
    at = text.find("{", found.end)
  made.end()
  return Parsed(tuple(made.pairs), made.dropped)


class _Pairs:
  """Makes pairs of objects.

  Attributes:
    pairs: See Parsed.
    dropped: See Parsed.
  """

  def __init__(self):
    self.pairs: list[tuple[str, str]] = []
    self.dropped = collections.Counter()
    self._question: str | None = None
    self._is_within = False

  def add(self, found: Object) -> None:
    """Takes an object."""
    is_within, self._is_within = self._is_within, False
    if found.problem == CUT:
      self._add_cut(found.values)
      return
    if found.problem:
      # Without a key it is a brace in prose, or one around others.
      if found.values:
        self._drop(found.problem)
      return
    known = [(_kind(key), text) for key, text in found.values]
    known = [(kind, text) for kind, text in known if kind]
    kinds = "".join(kind for kind, _ in known)
    if not known:
      is_other = not (found.is_around or is_within)
      if is_other and any(text for _, text in found.values):
        self._drop(NO_QUESTION)
    elif any(text is None for _, text in known):
      self._drop(NO_TEXT)
      self._is_within = found.is_around
    elif kinds == "a" and self._question is not None:
      self._add(self._question, known[0][1])
      self._question = None
    elif kinds == "q":
      self.end()
      self._question = known[0][1]
    else:
      self._add_all(kinds, [text for _, text in known])

  def end(self) -> None:
    """There is no answer to a question that stood alone."""
    if self._question is not None:
      self._question = None
      self.dropped[NO_ANSWER] += 1

  def _add_all(self, kinds: str, texts: list[str]) -> None:
    """Takes an object's questions and answers."""
    self.end()
    if kinds == "aq":
      texts = texts[::-1]
    elif kinds != "qa" * (len(kinds) // 2):
      missing = {"q": NO_ANSWER, "a": NO_QUESTION}
      only = set(kinds)
      self._drop(missing[kinds[0]] if len(only) == 1 else BROKEN)
      return
    for question, answer in zip(texts[::2], texts[1::2], strict=True):
      self._add(question, answer)

  def _add_cut(self, values: list[tuple[str, str | None]]) -> None:
    """Takes the pairs that are whole in an object that is not."""
    known = [(_kind(key), text) for key, text in values if _kind(key)]
    texts = [text for _, text in known]
    whole = 0
    while [kind for kind, _ in known[whole : whole + 2]] == [
      "q",
      "a",
    ] and None not in texts[whole : whole + 2]:
      whole += 2
    self._add_all("qa" * (whole // 2), texts[:whole])
    if not whole or known[whole:]:
      self._drop(CUT)

  def _add(self, question: str, answer: str) -> None:
    """Takes a pair."""
    pair = (question.strip(), answer.strip())
    if all(any(map(str.isalnum, text)) for text in pair):
      self.pairs.append(pair)
    else:
      self.dropped[EMPTY] += 1

  def _drop(self, reason: str) -> None:
    """Counts what is no pair."""
    self.end()
    self.dropped[reason] += 1


def _kind(key: str) -> str:
  """Whether a key is a question's or an answer's; "" if neither."""
  return _KINDS.get(key.strip().lower().rstrip("0123456789").rstrip(" _"), "")
