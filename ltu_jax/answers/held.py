"""What the rows of the cache hold, and which of them a new prompt may reuse."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass
class Row:
  """What one row of the cache holds.

  Attributes:
    audio: Identity of the clip whose audio tokens begin the row; None for none.
    tokens: The text tokens whose keys and values are in the cache, in order.
    used: When it was last used, a number that grows.
    busy: Whether its answer is still being drawn.
  """

  audio: bytes | None = None
  tokens: list[int] = dataclasses.field(default_factory=list)
  used: int = 0
  busy: bool = False


def longest_beginning(
  rows: Sequence[Row], audio: bytes | None, prompt: Sequence[int]
) -> tuple[int, int]:
  """The row that holds most of a prompt.

  The last token of a prompt is always read anew: its logits are wanted.

  Args:
    rows: What is held.
    audio: The prompt's clip.
    prompt: Its tokens, at least one.

  Returns:
    Index of the row and how many tokens of the prompt it holds; 0 tokens with
    audio means that nothing can be reused, not even the audio.
  """
  best = (0, 0)
  for index, row in enumerate(rows):
    if row.audio == audio:
      shared = min(_shared(row.tokens, prompt), len(prompt) - 1)
      if shared > best[1]:
        best = (index, shared)
  return best


def free_row(rows: Sequence[Row], source: int | None) -> int | None:
  """The row that a new prompt goes to, None if all are busy.

  A row that the prompt goes on from is taken over; else the one unused longest.
  """
  if source is not None and not rows[source].busy:
    return source
  free = [index for index, row in enumerate(rows) if not row.busy]
  return min(free, key=lambda index: rows[index].used, default=None)


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
  """How many leading tokens are equal."""
  for index, (x, y) in enumerate(zip(a, b, strict=False)):
    if x != y:
      return index
  return min(len(a), len(b))
