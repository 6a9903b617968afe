"""METEOR 1.5: words of an answer that a reference has, synonyms included.

M. Denkowski, A. Lavie, Meteor Universal, WMT 2014. The Java program of
pycocoevalcap aligns an answer with the nearest reference and counts; the score
is computed from those counts here, so that it is known for any choice of items.
METEOR of a set is no mean over its items: counts are summed first.

Axes: n items; b choices of items; m ways to match (same word, same stem,
synonym, paraphrase).
"""

from collections.abc import Sequence

import numpy as np

from ltu_jax.evaluate.captions import java

_JAR, _PARAPHRASES = "meteor-1.5.jar", "data/paraphrase-en.gz"

_MEMORY = "2G"
"""As pycocoevalcap runs it."""

_LIMIT_S, _LIMIT_PAIR_S = 600.0, 0.1
"""Loading takes 5 s, a pair of captions milliseconds: a hanging Java is killed,
a slow one is not."""

# The tuned parameters of METEOR 1.5 for English.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])
"""Of the m ways to match."""

_COUNTS = 23


def statistics(
  answers: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
  """Counts what METEOR needs of each item, in Java.

  Args:
    answers: One of each item, tokens with spaces between.
    references: Of each item one or more.

  Returns:
    Float64 [n, 23]: words of the answer and of the reference that it was
    aligned with, function words of both; for each m content words of both and
    function words of both that match; chunks; matched words of both.

  Raises:
    NotComputedError: No Java, no package, or Java failed.
  """
  folder = java.package("meteor")
  java.need(folder, [_JAR, _PARAPHRASES])
  pairs = list(zip(answers, references, strict=True))
  text = java.run(
    ["-jar", _JAR, "-", "-", "-stdio", "-l", "en", "-norm"],
    limit_s=_LIMIT_S + _LIMIT_PAIR_S * sum(len(r) for _, r in pairs),
    given="".join(_line(*pair) for pair in pairs),
    folder=folder,
    memory=_MEMORY,
  )
  lines = text.splitlines()
  try:
    stats = np.array([line.split() for line in lines], np.float64)
    stats = stats.reshape(len(pairs), _COUNTS)
  except ValueError as error:
    odd = next((x for x in lines if len(x.split()) != _COUNTS), "")
    raise java.NotComputedError(
      f"{_JAR} answered {len(lines)} lines to {len(pairs)} items"
      + (f", among them {odd[:200]!r}" if odd else "")
    ) from error
  words, reference_words, chunks, matched, reference_matched = stats[
    :, [0, 1, 20, 21, 22]
  ].T
  whole = (
    (chunks == 1) & (matched == words) & (reference_matched == reference_words)
  )
  # An answer that is a reference is not torn at all.
  stats[whole, 20] = 0
  return stats


def corpus_meteor(
  stats: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
  """Returns METEOR of all items together.

  Args:
    stats: [n, 23], from `statistics`.
    counts: How often each item is taken, [n] or [b, n]; once if None.

  Returns:
    Float64 [] or [b].
  """
  if counts is None:
    counts = np.ones(len(stats))
  return item_meteor(np.asarray(counts, np.float64) @ stats)


def item_meteor(stats: np.ndarray) -> np.ndarray:
  """Returns METEOR of each row of counts by itself.

  Args:
    stats: [..., 23], from `statistics`, or sums of such rows.

  Returns:
    Float64 [...], 0 to 1.
  """
  matches = stats[..., 4:20].reshape(*stats.shape[:-1], 4, 4)
  precision = _share(stats, matches, 0)
  recall = _share(stats, matches, 1)
  mean = _divide(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
  torn = _divide(stats[..., 20], (stats[..., 21] + stats[..., 22]) / 2)
  return mean * (1 - _GAMMA * torn**_BETA)


def _share(stats: np.ndarray, matches: np.ndarray, side: int) -> np.ndarray:
  """Precision (side 0) or recall (side 1): matched weight over all weight."""
  function = stats[..., 2 + side]
  content = stats[..., side] - function
  matched = _DELTA * matches[..., side] + (1 - _DELTA) * matches[..., 2 + side]
  return _divide(matched @ _WEIGHTS, _DELTA * content + (1 - _DELTA) * function)


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
  """The fraction; 0 where it would be 0 / 0."""
  return np.where(below > 0, above / np.where(below > 0, below, 1), 0.0)


def _line(answer: str, references: Sequence[str]) -> str:
  """What the program is asked about an item."""
  # The sign between captions, and line ends, may not be in one.
  texts = [
    " ".join(text.replace("|||", " ").split()) for text in (*references, answer)
  ]
  return " ||| ".join(["SCORE", *texts]) + "\n"
