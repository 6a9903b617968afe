"""What a gate says of a question, and the kinds of questions."""

import enum
from typing import NamedTuple


class Flag(NamedTuple):
  """What one gate says of one question.

  Attributes:
    gate: The gate's name.
    reason: Why, in words; one of a small number, to count by.
  """

  gate: str
  reason: str


class Kind(enum.Enum):
  """Kinds of questions that gates tell apart."""

  OPEN = "open-ended"
  CAPTION = "captions"
  LABELS = "labels and times"

  @property
  def is_closed(self) -> bool:
    """Whether there is one right answer."""
    return self is not Kind.OPEN


def kind_of(task: str) -> Kind:
  """Returns the kind of an OpenAQA task.

  `cla_...` and `temporal_...` have labels and times for answers, `caption` has
  a caption; all other tasks are open-ended.
  """
  if task.startswith(("cla_", "temporal_")):
    return Kind.LABELS
  return Kind.CAPTION if task.startswith("caption") else Kind.OPEN
