"""BLEU-1 to BLEU-4: share of an answer's runs of words that references have.

K. Papineni, S. Roukos, T. Ward, W.-J. Zhu, BLEU: a Method for Automatic
Evaluation of Machine Translation, ACL 2002. The numbers are those of
pycocoevalcap: of several references the closest in length counts (the shorter
of two equally close), and small constants keep divisions from failing.

BLEU of a set is no mean over its items: runs are summed first. An item's part
in it are ten counts, from which BLEU of any choice of items follows.

Axes: n items; b choices of items.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ltu_jax.evaluate.captions import ngrams

_SMALL, _TINY = 1e-9, 1e-15
"""In pycocoevalcap: below and above the line of a fraction."""

_K = ngrams.LONGEST


def statistics(
  answers: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
  """Counts what BLEU needs of each item.

  Args:
    answers: One of each item, tokens with spaces between.
    references: Of each item one or more.

  Returns:
    Float64 [n, 10]: words of the answer, words of the reference that it is
    compared with, runs of 1, 2, 3, 4 words in the answer, those of them that a
    reference has.
  """
  rows = [_count(*pair) for pair in zip(answers, references, strict=True)]
  return np.array(rows, np.float64).reshape(len(rows), 2 + 2 * _K)


def corpus_bleu(
  stats: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
  """Returns BLEU of all items together.

  Args:
    stats: [n, 10], from `statistics`.
    counts: How often each item is taken, [n] or [b, n]; once if None.

  Returns:
    Float64 [4] or [b, 4]: BLEU-1, -2, -3, -4.
  """
  if counts is None:
    counts = np.ones(len(stats))
  return item_bleu(np.asarray(counts, np.float64) @ stats)


def item_bleu(stats: np.ndarray) -> np.ndarray:
  """Returns BLEU of each row of counts by itself.

  Args:
    stats: [..., 10], from `statistics`, or sums of such rows.

  Returns:
    Float64 [..., 4]: BLEU-1, -2, -3, -4.
  """
  said, true = stats[..., 0], stats[..., 1]
  runs, right = stats[..., 2 : 2 + _K], stats[..., 2 + _K :]
  precision = np.cumprod((right + _TINY) / (runs + _SMALL), axis=-1)
  bleu = precision ** (1 / np.arange(1, _K + 1))
  ratio = (said + _TINY) / (true + _SMALL)
  # An empty answer's 1 / ratio is a large number, its penalty exactly 0.
  penalty = np.where(ratio < 1, np.exp(np.minimum(0, 1 - 1 / ratio)), 1.0)
  return bleu * penalty[..., None]


def _count(answer: str, references: Sequence[str]) -> list[int]:
  """The ten counts of one item."""
  said = ngrams.count(answer)
  most: Counter = Counter()
  for reference in references:
    most |= ngrams.count(reference)
  shared = said & most
  words = len(answer.split())
  lengths = [len(reference.split()) for reference in references]
  return [
    words,
    min(lengths, key=lambda length: (abs(length - words), length)),
    *(max(0, words - k) for k in range(_K)),
    *(
      sum(n for run, n in shared.items() if len(run) == k)
      for k in range(1, _K + 1)
    ),
  ]
