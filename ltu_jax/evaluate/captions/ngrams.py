"""Runs of words and how often a caption has each."""

from collections import Counter

LONGEST = 4
"""Words of the longest run, for CIDEr-D and BLEU."""


def count(caption: str) -> Counter[tuple[str, ...]]:
  """Counts runs of 1 to 4 words.

  Args:
    caption: Tokens with spaces between them.

  Returns:
    How often each run occurs.
  """
  words = caption.split()
  return Counter(
    tuple(words[start : start + length])
    for length in range(1, LONGEST + 1)
    for start in range(len(words) - length + 1)
  )
