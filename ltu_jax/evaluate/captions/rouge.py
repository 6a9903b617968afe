"""ROUGE-L: the longest sequence of words that an answer and a reference share.

C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004. The
numbers are those of pycocoevalcap: precision and recall are each the best over
the references, and an empty text counts as one empty word.
"""

from collections.abc import Sequence

import numpy as np

_BETA = 1.2
"""Weight of recall against precision."""


def rouge_l(
  answers: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
  """Returns the score of each item's answer.

  Args:
    answers: One of each item, tokens with spaces between.
    references: Of each item one or more.

  Returns:
    Float64 [n], 0 to 1.
  """
  pairs = zip(answers, references, strict=True)
  return np.array([_score(a, r) for a, r in pairs], np.float64)


def _score(answer: str, references: Sequence[str]) -> float:
  """Of one item."""
  said = answer.split(" ")
  true = [reference.split(" ") for reference in references]
  shared = [_longest_shared(said, words) for words in true]
  precision = max(shared) / len(said)
  recall = max(n / len(words) for n, words in zip(shared, true, strict=True))
  if not precision:
    return 0.0
  return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _longest_shared(first: Sequence[str], second: Sequence[str]) -> int:
  """Words of the longest common subsequence."""
  best = [0] * (len(second) + 1)
  for word in first:
    before = 0
    for i, other in enumerate(second, start=1):
      longest = before + 1 if word == other else max(best[i], best[i - 1])
      before, best[i] = best[i], longest
  return best[-1]
