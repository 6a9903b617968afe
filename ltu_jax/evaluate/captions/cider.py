"""CIDEr-D: shared runs of words, weighted by how rare they are.

R. Vedantam, C. L. Zitnick, D. Parikh, CIDEr: Consensus-based Image Description
Evaluation, CVPR 2015. The numbers are those of pycocoevalcap, which calls it
CIDEr. It counts a caption's length in pairs of words; so does this.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ltu_jax.evaluate.captions import ngrams

_SIGMA = 6.0
"""Width of the penalty on a difference in length, in words."""

_SCALE = 10.0

_Run = tuple[str, ...]
_Vector = tuple[Sequence[Mapping[_Run, float]], Sequence[float], int]
"""By length of run: weight of each run, norm of the weights; pairs of words."""


class CiderD:
  """Scores answers about one set of clips.

  How rare a run of words is comes from the references of all clips: a score
  depends on the set. With a single clip nothing is rare and all scores are 0.
  """

  def __init__(self, references: Sequence[Sequence[str]]):
    """Counts.

    Args:
      references: Of each clip one or more captions, tokens with spaces between.
    """
    counts = [[ngrams.count(text) for text in clip] for clip in references]
    clips_with = Counter(run for clip in counts for run in set().union(*clip))
    self._unseen = math.log(len(references)) if references else 0.0
    self._rarity = {
      run: self._unseen - math.log(n) for run, n in clips_with.items()
    }
    self._references = [[self._weigh(c) for c in clip] for clip in counts]

  def score(self, answers: Sequence[str]) -> np.ndarray:
    """Returns the score of each clip's answer.

    Args:
      answers: One of each clip, tokens with spaces between.

    Returns:
      Float64 [n], 0 to 10.
    """
    scores = []
    for answer, clip in zip(answers, self._references, strict=True):
      vector = self._weigh(ngrams.count(answer))
      total = sum(_similarity(vector, reference) for reference in clip)
      scores.append(_SCALE * total / ngrams.LONGEST / len(clip))
    return np.array(scores, np.float64)

  def _weigh(self, counts: Mapping[_Run, int]) -> _Vector:
    """Weights, norms and length of one caption."""
    weights = [{} for _ in range(ngrams.LONGEST)]
    for run, n in counts.items():
      weights[len(run) - 1][run] = n * self._rarity.get(run, self._unseen)
    norms = [math.sqrt(sum(w * w for w in part.values())) for part in weights]
    pairs = sum(n for run, n in counts.items() if len(run) == 2)
    return weights, norms, pairs


def _similarity(answer: _Vector, reference: _Vector) -> float:
  """Sum over lengths of run of the cosine, clipped to what is there."""
  total = 0.0
  for said, true, norm_said, norm_true in zip(
    answer[0], reference[0], answer[1], reference[1], strict=True
  ):
    if norm_said and norm_true:
      shared = sum(
        min(weight, true[run]) * true[run]
        for run, weight in said.items()
        if run in true
      )
      total += shared / (norm_said * norm_true)
  longer = answer[2] - reference[2]
  return total * math.exp(-(longer**2) / (2 * _SIGMA**2))
