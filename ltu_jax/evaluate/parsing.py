"""What an answer in the model's own words says: which labels, in what order.

Truths are answers too and are read by the same functions. Labels are compared
without regard to case, spaces around them and a final full stop; commas are
part of a label, as in AudioSet's `Male speech, man speaking`.
"""

import re

_LABELS_HEAD = re.compile(r"^.*?\blabels?\b[^:;]*:", re.IGNORECASE | re.DOTALL)
_FIRST_HEAD = re.compile(r"^\s*first(?:ly)?\b[\s,:]*", re.IGNORECASE)
_THEN = re.compile(
  r"[\s,;.]*\b(?:and\s+)?(?:then|followed\s+by|finally)\b[\s,:]*", re.IGNORECASE
)


def labels(answer: str) -> frozenset[str]:
  """Reads `Labels: A; B`.

  Args:
    answer: The text; what stands before `Labels:` is ignored, and without that
      word all of it is taken. `Feature -> A` counts as `A`.

  Returns:
    The labels, normalised; empty if there is none.
  """
  listed = re.split(r"[;\n]", _LABELS_HEAD.sub("", answer))
  found = (normalise(part.rpartition("->")[2]) for part in listed)
  return frozenset(label for label in found if label)


def order(answer: str) -> tuple[str, ...]:
  """Reads `First A, then B, then C`.

  Args:
    answer: The text; `First` may be missing, and `followed by`, `and then` and
      `finally` count as `then`.

  Returns:
    The labels in their order, normalised; empty if there is none.
  """
  listed = _THEN.split(_FIRST_HEAD.sub("", answer))
  return tuple(label for label in map(normalise, listed) if label)


def normalise(label: str) -> str:
  """Returns a label in small letters, without spaces and stops around it."""
  return " ".join(label.casefold().split()).strip(" .,:")
