"""Scoring of caption sets: several sampled captions of each clip."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ltu_jax.evaluate import bootstrap, intervals
from ltu_jax.evaluate.captions import score as captions
from ltu_jax.evaluate.result import Metric
from ltu_jax.evaluate.scored import Scored
from ltu_jax.evaluate.sets.spec import Found, Item, Spec

if TYPE_CHECKING:
  from ltu_jax.evaluate.evaluating import Evaluator


def score(
  evaluator: "Evaluator", spec: Spec, found: Found, items: Sequence[Item]
) -> Scored:
  """Asks for captions, and compares them with the references."""
  made = Scored.empty(len(items))
  replies = evaluator.ask(spec, items)
  there = []
  for n, reply in enumerate(replies):
    made.answers[n], made.errors[n] = reply.texts, reply.error
    if reply.texts:
      there.append(n)
  embedder = evaluator.embedder()
  found = captions.score(
    [replies[n].texts for n in there],
    [items[n].truth for n in there],
    embedder,
  )
  made.settings = {"embedder": embedder.name}
  for metric in found.metrics:
    made.metrics.append(_with_interval(evaluator, metric, found))
  for name, scores in found.items.items():
    for n, value in zip(there, scores, strict=True):
      made.score[n][name] = float(value)
  return made


def _with_interval(
  evaluator: "Evaluator", metric: Metric, found: captions.CaptionScores
) -> Metric:
  """Adds the bootstrap interval over clips."""
  resample = found.resample.get(metric.name)
  drawn = intervals.draws(metric.count, evaluator.settings)
  if metric.value is None or resample is None or drawn is None:
    return metric
  low, high = bootstrap.interval(resample(drawn))
  return dataclasses.replace(metric, low=low, high=high)
