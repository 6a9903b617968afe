"""Scoring of classification sets: what an answer says of each class.

Letters: N items, C classes.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ltu_jax.answers.likelihood import Scores
from ltu_jax.evaluate import (
  bootstrap,
  controls,
  intervals,
  measures,
  parsing,
  protocol,
)
from ltu_jax.evaluate.asked import Replies
from ltu_jax.evaluate.result import Classes, Metric
from ltu_jax.evaluate.scored import Scored
from ltu_jax.evaluate.sets.spec import Found, Item, Spec

if TYPE_CHECKING:
  from ltu_jax.evaluate.evaluating import Evaluator


@dataclasses.dataclass(frozen=True)
class _Way:
  """What one way of asking and scoring gives.

  Attributes:
    name: Of the protocol, with the control if there is one.
    errors: Of each item: why it has no scores; "" if it has.
    answers: Of each item, in the model's words.
    scores: float [N, C]; None if answers are right or wrong and no more.
    right: bool [N], of a protocol without scores.
    said: Of each item.
    chance: Without ears, where it is not that of one class in C.
  """

  name: str
  errors: Sequence[str]
  answers: Sequence[Sequence[str]]
  scores: np.ndarray | None
  right: np.ndarray | None
  said: Sequence[str]

  @property
  def there(self) -> np.ndarray:
    """int: the items that have scores."""
    return np.flatnonzero([not error for error in self.errors])


def score(
  evaluator: "Evaluator", spec: Spec, found: Found, items: Sequence[Item]
) -> Scored:
  """Asks for classes in every wanted way, and scores the answers.

  Args:
    evaluator: Who asks.
    spec: The set.
    found: What there is of it.
    items: What is asked about.
  """
  truth = _truth(items, found.labels)
  single = bool((truth.sum(axis=1) == 1).all())
  made = Scored.empty(len(items))
  precisions, confusions = {}, {}
  headline = True
  for control in ("", *evaluator.settings.controls):
    for way in _ways(evaluator, spec, found.labels, items, control):
      metrics = _metrics(evaluator, spec, truth, way, headline)
      made.metrics += metrics
      headline = headline and not metrics
      if control:
        continue
      _note(made, way, truth)
      if way.scores is not None and len(way.there):
        precisions[way.name] = _precisions(truth, way)
        if single:
          confusions[way.name] = _confusion(truth, way)
  count = truth.sum(axis=0).tolist()
  made.classes = Classes(list(found.labels), count, precisions, confusions)
  made.settings = _settings(evaluator, spec, found.labels)
  return made


def _settings(
  evaluator: "Evaluator", spec: Spec, labels: Sequence[str]
) -> dict[str, object]:
  """What class scores depend on."""
  names = evaluator.settings.protocols
  more: dict[str, object] = {"protocols": list(names), "labels": list(labels)}
  if {"published", "labels"} & set(names):
    more["embedder"] = evaluator.embedder().name
  if {"labels", "constrained"} & set(names):
    more["label_question"] = spec.label_question or "in the set's own words"
  if "constrained" in names:
    more["label_answer"] = spec.label_answer
  return more


def _truth(items: Sequence[Item], labels: Sequence[str]) -> np.ndarray:
  """Which labels are true, bool [N, C]."""
  place = {label: number for number, label in enumerate(labels)}
  truth = np.zeros((len(items), len(labels)), bool)
  for row, item in enumerate(items):
    truth[row, [place[label] for label in item.truth]] = True
  return truth


def _ways(
  evaluator: "Evaluator",
  spec: Spec,
  labels: Sequence[str],
  items: Sequence[Item],
  control: str,
) -> Iterator[_Way]:
  """Asks in every wanted way; the one of the table comes first."""
  names = evaluator.settings.protocols
  suffix = f", {controls.NAMES[control]}" if control else ""
  if not spec.question:
    # The set asks for labels itself.
    replies = evaluator.ask(spec, items, "", control)
    yield _exact("exact" + suffix, replies, items)
    if {"published", "labels"} & set(names):
      texts = [_texts(spec, r, protocol.label_texts) for r in replies]
      yield _embedded("embedding" + suffix, evaluator, spec, labels, *texts)
  if spec.question and "published" in names:
    replies = evaluator.ask(spec, items, "", control)
    texts = [_texts(spec, r, protocol.caption_texts) for r in replies]
    yield _embedded("published" + suffix, evaluator, spec, labels, *texts)
  if spec.question and "labels" in names:
    asked = _asking_labels(spec, items)
    replies = evaluator.ask(spec, asked, "labels", control)
    texts = [_texts(spec, r, protocol.label_texts) for r in replies]
    yield _embedded("labels" + suffix, evaluator, spec, labels, *texts)
  if "constrained" in names:
    asked = _asking_labels(spec, items)
    answers = [spec.label_answer.format(label) for label in labels]
    found = evaluator.likelihoods(spec, asked, answers, control)
    yield from _constrained(suffix, found, labels)


def _asking_labels(spec: Spec, items: Sequence[Item]) -> list[Item]:
  """The items with the question for labels."""
  if not spec.label_question:
    return list(items)
  return [
    dataclasses.replace(item, question=spec.label_question, input="")
    for item in items
  ]


def _exact(
  name: str, replies: Sequence[Replies], items: Sequence[Item]
) -> _Way:
  """The answer names the label, and no other."""
  texts = [r.texts[0] if r.texts else "" for r in replies]
  said = [parsing.labels(text) for text in texts]
  truths = [{parsing.normalise(t) for t in item.truth} for item in items]
  right = np.array([a == b for a, b in zip(said, truths, strict=True)])
  return _Way(
    name,
    [r.error for r in replies],
    [r.texts for r in replies],
    None,
    right,
    ["; ".join(sorted(labels)) for labels in said],
  )


@dataclasses.dataclass(frozen=True)
class _Texts:
  """An answer, and what of it is embedded."""

  reply: Replies
  texts: Sequence[str]


def _texts(spec: Spec, reply: Replies, take) -> _Texts:
  """What of an answer is embedded; nothing of one that is not there."""
  texts = take(spec.name, reply.texts[0]) if reply.texts else ()
  return _Texts(reply, texts)


def _embedded(
  name: str,
  evaluator: "Evaluator",
  spec: Spec,
  labels: Sequence[str],
  *texts: _Texts,
) -> _Way:
  """Cosines of answers and labels."""
  scores = protocol.class_scores(
    [t.texts for t in texts],
    protocol.class_texts(spec.name, labels),
    evaluator.embedder(),
    protocol.rule_of(spec.name),
  )
  return _Way(
    name,
    [t.reply.error for t in texts],
    [t.reply.texts for t in texts],
    scores,
    None,
    [labels[n] for n in scores.argmax(axis=1)],
  )


def _constrained(
  suffix: str, found: Sequence[Scores | str], labels: Sequence[str]
) -> Iterator[_Way]:
  """The model's likelihood of each label: of all its tokens, and of one.

  Over all labels the probabilities are made to add up to 1, so that an item
  whose every answer is unlikely is no worse than another.
  """
  nothing = np.zeros(len(labels))
  kinds = {"constrained": "total"}
  if not suffix:
    kinds["constrained, a token"] = "mean"
  for name, kind in kinds.items():
    raw = np.array(
      [nothing if isinstance(f, str) else getattr(f, kind) for f in found],
      np.float64,
    )
    shifted = raw - raw.max(axis=1, keepdims=True)
    scores = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    yield _Way(
      name + suffix,
      [f if isinstance(f, str) else "" for f in found],
      [()] * len(found),
      scores,
      None,
      [labels[n] for n in scores.argmax(axis=1)],
    )


def _metrics(
  evaluator: "Evaluator",
  spec: Spec,
  truth: np.ndarray,
  way: _Way,
  headline: bool,
) -> list[Metric]:
  """The set's measure of one way; none if there is no answer at all."""
  there = way.there
  if not len(there):
    return []
  truth = truth[there]
  drawn = intervals.draws(len(there), evaluator.settings)
  more = {"protocol": way.name, "count": len(there), "headline": headline}
  if spec.metric == "mAP":
    return _mean_precision(truth, way.scores[there], drawn, more)
  more["chance"] = 1 / truth.shape[1]
  if spec.metric == "micro F1":
    said = way.scores[there].argmax(axis=1)
    said = measures.one_hot(said, truth.shape[1])
    value = measures.f1(truth, said).micro
    resample = lambda d: bootstrap.of_micro_f1(truth, said, d)
    return [intervals.metric(spec.metric, value, drawn, resample, **more)]
  del more["count"]
  right = _right(truth, way, there)
  return [intervals.mean(spec.metric, right, drawn, **more)]


def _right(truth: np.ndarray, way: _Way, there: np.ndarray) -> np.ndarray:
  """Whether the class that is said is true, bool [N]."""
  if way.right is not None:
    return way.right[there]
  said = way.scores[there].argmax(axis=1)
  return truth[np.arange(len(said)), said]


def _mean_precision(
  truth: np.ndarray,
  scores: np.ndarray,
  drawn: np.ndarray | None,
  more: dict,
) -> list[Metric]:
  """MAP over all classes, as published, and over those that have items."""
  value = measures.mean_average_precision(truth, scores)
  ends = [(None, None)] * 2
  if drawn is not None:
    both = bootstrap.of_mean_average_precision(truth, scores, drawn)
    ends = [bootstrap.interval(each) for each in both]
  present = truth.any(axis=0)
  # What scores drawn at random give, nearly: the share of positives.
  share = truth.mean(axis=0)
  metrics = [
    Metric(
      "mAP",
      value.all_classes,
      low=ends[0][0],
      high=ends[0][1],
      chance=float(share.mean()),
      **more,
    )
  ]
  if not present.all():
    note = f"over the {present.sum()} of {len(present)} classes with items"
    metrics.append(
      Metric(
        "mAP of classes with items",
        value.present_classes,
        low=ends[1][0],
        high=ends[1][1],
        chance=float(share[present].mean()) if present.any() else None,
        note=note,
        **more | {"headline": False},
      )
    )
  return metrics


def _note(made: Scored, way: _Way, truth: np.ndarray) -> None:
  """Writes what each item got."""
  right = None
  for n in way.there:
    made.said[n][way.name] = way.said[n]
    if way.right is not None:
      value = float(way.right[n])
    elif truth[n].sum() == 1:
      right = way.scores[n].argmax()
      value = float(truth[n, right])
    else:
      # How far up the right labels are among all.
      value = _ranking(truth[n], way.scores[n])
    made.score[n][way.name] = value
  for n, (answer, error) in enumerate(
    zip(way.answers, way.errors, strict=True)
  ):
    made.answers[n] = made.answers[n] or answer
    made.errors[n] = made.errors[n] or error


def _ranking(truth: np.ndarray, scores: np.ndarray) -> float:
  """Average precision of one item's labels, 0 to 1."""
  return float(measures.average_precision(truth[:, None], scores[:, None])[0])


def _precisions(truth: np.ndarray, way: _Way) -> list[float | None]:
  """Average precision of each class; None for one without items."""
  truth = truth[way.there]
  each = measures.average_precision(truth, way.scores[way.there])
  return [
    float(value) if positives else None
    for value, positives in zip(each, truth.any(axis=0), strict=True)
  ]


def _confusion(truth: np.ndarray, way: _Way) -> list[list[int]]:
  """Counts of what was said of which class."""
  there = way.there
  return measures.confusion(
    truth[there].argmax(axis=1),
    way.scores[there].argmax(axis=1),
    truth.shape[1],
  ).tolist()
