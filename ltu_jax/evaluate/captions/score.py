"""Scores captions as LTU's published evaluation does, and by more metrics.

Every item has several sampled answers. Trial t takes each item's t-th answer
and compares it with all of the item's references; a metric is the mean over
trials, its deviation the population's standard deviation.

Axes: t trials; n items; k counts; b choices of items.
"""

import dataclasses
import string
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ltu_jax.evaluate.captions import bleu, meteor, rouge, similarity, spice
from ltu_jax.evaluate.captions.cider import CiderD
from ltu_jax.evaluate.captions.java import NotComputedError
from ltu_jax.evaluate.captions.tokenizer import tokenize
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.result import Metric

HEADLINE = "SPICE"
"""The metric of the paper's table."""

BLEU = tuple(f"BLEU-{k}" for k in range(1, 5))
NAMES = (
  HEADLINE,
  "CIDEr-D",
  "METEOR",
  *BLEU,
  "ROUGE-L",
  "sentence similarity",
)
"""All metrics, in the result's order."""

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

_OFF = "not computed: it needs Java, which was switched off"
_NO_EMBEDDER = "not computed: no text embedder was given"
_ONE_CLIP = "a set of one clip has no rare words: CIDEr-D is 0 whatever is said"

Resample = Callable[[np.ndarray], np.ndarray]
"""How often each item is taken, [n] or [b, n], to the metric, [] or [b]."""


@dataclasses.dataclass(frozen=True)
class CaptionScores:
  """What captions are worth.

  Attributes:
    metrics: One for each of NAMES; without a value, and with a note, where it
      could not be computed. No intervals.
    items: By metric that has a value: float64 [n], each item's score by itself,
      the mean over trials. The mean over items is the metric, but for BLEU and
      METEOR, which sum counts first.
    trials: By metric: float64 [t].
    resample: By metric: its value for another choice of items, for bootstrap
      intervals. How rare words are stays that of all items.
  """

  metrics: Sequence[Metric]
  items: Mapping[str, np.ndarray]
  trials: Mapping[str, np.ndarray]
  resample: Mapping[str, Resample]


@dataclasses.dataclass(frozen=True)
class _Measured:
  """A metric of all trials: scores of items, or counts to compute it from.

  Attributes:
    items: Float64 [t, n].
    resample: As in CaptionScores, but [t] or [t, b].
  """

  items: np.ndarray
  resample: Resample


def clean(answer: str) -> str:
  """Returns the caption in an answer, as the published scripts clean it.

  That is what follows the last colon, without its first character, without
  ASCII punctuation, in lower case. An answer without a colon, too, loses its
  first character.
  """
  return answer.split(":")[-1][1:].translate(_NO_PUNCTUATION).lower()


def clean_reference(caption: str) -> str:
  """Returns a reference as the published scripts clean it.

  They do the same to it as to an answer; but it has a prompt before it there,
  which ends with a colon and a space.
  """
  return clean(f": {caption}")


def score(
  answers: Sequence[Sequence[str]],
  references: Sequence[Sequence[str]],
  embedder: similarity.Embedder | None = None,
  java: bool = True,
) -> CaptionScores:
  """Scores captions.

  Args:
    answers: Of each item its samples as the model gave them, the same number of
      all (published: five).
    references: Of each item its captions, one or more.
    embedder: For the sentence similarity; None leaves it out.
    java: Whether SPICE and METEOR may run, if Java and their files are there.

  Returns:
    All metrics.

  Raises:
    EvaluateError: Numbers of items, samples or references do not fit.
  """
  _check(answers, references)
  if not answers:
    return CaptionScores(
      [_empty(name, 0, "no items") for name in NAMES], {}, {}, {}
    )
  said = [[clean(text) for text in samples] for samples in answers]
  true = [[clean_reference(text) for text in clip] for clip in references]
  measured: dict[str, _Measured] = {}
  notes = {HEADLINE: _OFF, "METEOR": _OFF, "sentence similarity": _NO_EMBEDDER}
  if embedder is not None:
    measured["sentence similarity"] = _means(
      _once(said, true, lambda a, r: similarity.similarity(a, r, embedder))
    )
  said = [[tokenize(text) for text in samples] for samples in said]
  true = [[tokenize(text) for text in clip] for clip in true]
  measured |= _in_python(said, true)
  if java:
    _in_java(said, true, measured, notes)
  if len(answers) == 1:
    notes["CIDEr-D"] = _ONE_CLIP
  return _gather(measured, notes, len(answers))


def _check(
  answers: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> None:
  """Raises if numbers do not fit."""
  if len(answers) != len(references):
    raise EvaluateError(
      f"{len(answers)} items have answers and {len(references)} references."
    )
  for i, (samples, clip) in enumerate(zip(answers, references, strict=True)):
    if not samples or len(samples) != len(answers[0]):
      raise EvaluateError(
        f"Item {i} has {len(samples)} answers and the first has "
        f"{len(answers[0])}; captions are scored with the same number, at "
        "least one, of each."
      )
    if not clip:
      raise EvaluateError(f"Item {i} has no reference caption.")


def _in_python(
  said: Sequence[Sequence[str]], true: Sequence[Sequence[str]]
) -> dict[str, _Measured]:
  """CIDEr-D, BLEU and ROUGE-L."""
  trials = list(zip(*said, strict=True))
  cider = CiderD(true)
  stats = np.array([bleu.statistics(trial, true) for trial in trials])
  found = {
    "CIDEr-D": _means(np.array([cider.score(trial) for trial in trials])),
    "ROUGE-L": _means(_once(said, true, rouge.rouge_l)),
  }
  items = bleu.item_bleu(stats)
  for k, name in enumerate(BLEU):
    found[name] = _Measured(
      items[..., k],
      lambda counts, k=k: np.array(
        [bleu.corpus_bleu(trial, counts)[..., k] for trial in stats]
      ),
    )
  return found


def _in_java(
  said: Sequence[Sequence[str]],
  true: Sequence[Sequence[str]],
  measured: dict[str, _Measured],
  notes: dict[str, str],
) -> None:
  """SPICE and METEOR, or in `notes` why not."""
  try:
    measured[HEADLINE] = _means(_once(said, true, spice.spice))
  except NotComputedError as error:
    notes[HEADLINE] = f"not computed: {error}"
  try:
    stats = _once(said, true, meteor.statistics)
  except NotComputedError as error:
    notes["METEOR"] = f"not computed: {error}"
    return
  measured["METEOR"] = _Measured(
    meteor.item_meteor(stats),
    lambda counts: np.array([meteor.corpus_meteor(t, counts) for t in stats]),
  )


def _once(
  said: Sequence[Sequence[str]],
  true: Sequence[Sequence[str]],
  measure: Callable[[Sequence[str], Sequence[Sequence[str]]], np.ndarray],
) -> np.ndarray:
  """Measures each different answer of an item once: samples often agree.

  Returns:
    What `measure` returns of each answer, [t, n] or [t, n, k].
  """
  pairs = [(i, text) for i, samples in enumerate(said) for text in samples]
  different = list(dict.fromkeys(pairs))
  values = measure(
    [text for _, text in different], [true[i] for i, _ in different]
  )
  row = {pair: r for r, pair in enumerate(different)}
  return np.array(
    [
      [values[row[i, samples[t]]] for i, samples in enumerate(said)]
      for t in range(len(said[0]))
    ]
  )


def _means(items: np.ndarray) -> _Measured:
  """A metric that is the mean over its items.

  Args:
    items: Float64 [t, n].
  """
  return _Measured(
    items,
    lambda counts: np.moveaxis(
      (counts @ items.T) / counts.sum(axis=-1, keepdims=True), -1, 0
    ),
  )


def _gather(
  measured: Mapping[str, _Measured], notes: Mapping[str, str], count: int
) -> CaptionScores:
  """Puts all metrics into the result's form."""
  ones = np.ones(count)
  trials = {name: m.resample(ones) for name, m in measured.items()}
  metrics = []
  for name in NAMES:
    if name not in measured:
      metrics.append(_empty(name, count, notes[name]))
      continue
    values = trials[name]
    metrics.append(
      Metric(
        name,
        float(values.mean()),
        count=count,
        deviation=float(values.std()) if len(values) > 1 else None,
        headline=name == HEADLINE,
        note=notes.get(name, "") if name == "CIDEr-D" else "",
      )
    )
  return CaptionScores(
    metrics,
    {name: m.items.mean(axis=0) for name, m in measured.items()},
    trials,
    {
      name: lambda counts, m=m: m.resample(np.asarray(counts)).mean(axis=0)
      for name, m in measured.items()
    },
  )


def _empty(name: str, count: int, note: str) -> Metric:
  """A metric without a value."""
  return Metric(name, None, count=count, headline=name == HEADLINE, note=note)
