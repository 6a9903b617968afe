"""Scoring of open questions: whether a judge says that they are answered."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import jax

from ltu_jax import processes
from ltu_jax.data.prompts import with_input
from ltu_jax.evaluate import intervals
from ltu_jax.evaluate.judging import prompt
from ltu_jax.evaluate.judging.judge import Tally, Verdict, judge
from ltu_jax.evaluate.result import Metric
from ltu_jax.evaluate.scored import Scored
from ltu_jax.evaluate.sets.spec import Found, Item, Spec

if TYPE_CHECKING:
  from ltu_jax.evaluate.evaluating import Evaluator

_UNJUDGED = (
  "not judged: give --judge=MODEL (and --judge_url for a server of your own);"
  " the answers are kept and not asked for again"
)


def score(
  evaluator: "Evaluator", spec: Spec, found: Found, items: Sequence[Item]
) -> Scored:
  """Asks the set's own questions, and has the answers judged."""
  made = Scored.empty(len(items))
  replies = evaluator.ask(spec, items)
  for n, reply in enumerate(replies):
    made.answers[n], made.errors[n] = reply.texts, reply.error
  settings = evaluator.judge
  if settings is None:
    made.metrics.append(Metric(spec.metric, None, note=_UNJUDGED))
    return made
  made.settings = {"judge": settings.as_json()}
  there = [n for n, reply in enumerate(replies) if reply.texts]
  pairs = [
    (with_input(items[n].question, items[n].input), replies[n].texts[0])
    for n in there
  ]
  store = evaluator.out / f"{spec.name}.verdicts.jsonl"
  verdicts = _verdicts(lambda: judge(pairs, settings, store, evaluator.tell))
  judged = []
  for n, verdict in zip(there, verdicts, strict=False):
    made.said[n]["judge"] = verdict.verdict or verdict.error
    if verdict.verdict:
      judged.append(float(verdict.verdict == prompt.YES))
      made.score[n]["judge"] = judged[-1]
  made.metrics.append(_metric(evaluator, spec, judged, Tally.of(verdicts)))
  return made


def _verdicts(ask: Callable[[], list[Verdict]]) -> list[Verdict]:
  """Asks the judge in the first process, and tells the others."""
  first = jax.process_index() == 0
  own = processes.in_turn(lambda: ask() if first else [])
  told = processes.gather(json.dumps([*map(dataclasses.asdict, own)]))[0]
  return [Verdict(**values) for values in json.loads(told)]


def _metric(
  evaluator: "Evaluator", spec: Spec, judged: Sequence[float], tally: Tally
) -> Metric:
  """The share of answers that answer their question."""
  if not judged:
    return Metric(spec.metric, None, note="the judge gave no verdict")
  drawn = intervals.draws(len(judged), evaluator.settings)
  parts = []
  if tally.unclear:
    parts.append(f"{tally.unclear} verdicts are neither yes nor no: as no")
  if tally.failed:
    parts.append(f"{tally.failed} answers could not be judged")
  return intervals.mean(
    spec.metric,
    judged,
    drawn,
    protocol="judge",
    headline=True,
    note="; ".join(parts),
  )
