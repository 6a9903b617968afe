"""Sentence similarity: how near an answer's meaning is to the references'.

It is the first part of FENSE (Z. Zhou et al., ICASSP 2022). The second, a
detector of broken sentences that lowers a score, is not here: the numbers are
not FENSE's.

Axes: n texts; d features.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Embedder(Protocol):
  """Turns texts into vectors of unit length."""

  name: str

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """Returns float32 [n, d], rows of length 1."""


def similarity(
  answers: Sequence[str],
  references: Sequence[Sequence[str]],
  embedder: Embedder,
) -> np.ndarray:
  """Returns for each item the mean over references of the cosine.

  Args:
    answers: One of each item.
    references: Of each item one or more.
    embedder: Asked once about each text.

  Returns:
    Float64 [n], -1 to 1. An answer without a word has 0: it means nothing.
  """
  texts = sorted({*answers, *(r for clip in references for r in clip)})
  if not texts:
    return np.zeros(0)
  vectors = np.asarray(embedder(texts), np.float64)
  row = {text: i for i, text in enumerate(texts)}
  return np.array(
    [
      np.mean(vectors[[row[r] for r in clip]] @ vectors[row[answer]])
      if answer.strip()
      else 0.0
      for answer, clip in zip(answers, references, strict=True)
    ]
  )
