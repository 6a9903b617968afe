"""Scoring of answers that are right or wrong: an order of sounds, a choice."""

import collections
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ltu_jax.evaluate import choices, controls, intervals, parsing
from ltu_jax.evaluate.asked import Replies
from ltu_jax.evaluate.held_out import swapped_chance
from ltu_jax.evaluate.result import Metric
from ltu_jax.evaluate.scored import Scored
from ltu_jax.evaluate.sets.spec import Found, Item, Spec

if TYPE_CHECKING:
  from ltu_jax.evaluate.evaluating import Evaluator

_FEWEST = 2
"""Items of a group that has a number of its own."""

Right = Callable[[str, Item], bool | None]
"""Whether an answer is right; None if it counts as none."""


def order(
  evaluator: "Evaluator", spec: Spec, found: Found, items: Sequence[Item]
) -> Scored:
  """Asks in which order sounds begin."""

  def right(answer: str, item: Item) -> bool:
    return parsing.order(answer) == item.truth

  def said(answer: str) -> str:
    return ", then ".join(parsing.order(answer))

  chance = swapped_chance([item.truth for item in items])
  made = _score(evaluator, spec, items, right, said, chance)
  same = [
    n
    for n, answers in enumerate(made.answers)
    if answers and sorted(parsing.order(answers[0])) == sorted(items[n].truth)
  ]
  if same:
    hits = [made.score[n]["exact"] for n in same]
    guess = [1 / math.factorial(len(items[n].truth)) for n in same]
    made.metrics.append(
      intervals.mean(
        "accuracy, where the sounds are right",
        hits,
        intervals.draws(len(hits), evaluator.settings),
        chance=float(np.mean(guess)),
      )
    )
  return made


def choice(
  evaluator: "Evaluator", spec: Spec, found: Found, items: Sequence[Item]
) -> Scored:
  """Asks to choose, and matches the answer as the set's owners do."""
  rule = choices.RULES[spec.name]

  def right(answer: str, item: Item) -> bool | None:
    return rule(answer, item.truth[0], item.choices)

  chance = float(np.mean([1 / len(item.choices) for item in items]))
  made = _score(evaluator, spec, items, right, str.strip, chance)
  made.metrics += _groups(evaluator, items, made)
  return made


def _score(
  evaluator: "Evaluator",
  spec: Spec,
  items: Sequence[Item],
  right: Right,
  said: Callable[[str], str],
  chance: float,
) -> Scored:
  """Asks, also under the wanted controls."""
  made = Scored.empty(len(items))
  for control in ("", *evaluator.settings.controls):
    name = "exact" + (f", {controls.NAMES[control]}" if control else "")
    replies = evaluator.ask(spec, items, "", control)
    verdicts = [
      right(reply.texts[0], item) if reply.texts else None
      for reply, item in zip(replies, items, strict=True)
    ]
    counted = [float(v) for v in verdicts if v is not None]
    more = {
      "protocol": name,
      "chance": None if np.isnan(chance) else chance,
      "headline": not made.metrics,
      "note": _left_out(replies, verdicts),
    }
    made.metrics.append(
      intervals.mean(
        spec.metric,
        counted,
        intervals.draws(len(counted), evaluator.settings),
        **more,
      )
      if counted
      else Metric(spec.metric, None, **more)
    )
    if not control:
      _note(made, name, replies, verdicts, said)
  return made


def _note(
  made: Scored,
  name: str,
  replies: Sequence[Replies],
  verdicts: Sequence[bool | None],
  said: Callable[[str], str],
) -> None:
  """Writes what each item got."""
  for n, (reply, verdict) in enumerate(zip(replies, verdicts, strict=True)):
    made.answers[n], made.errors[n] = reply.texts, reply.error
    if reply.texts:
      made.said[n][name] = said(reply.texts[0])
    if verdict is not None:
      made.score[n][name] = float(verdict)


def _left_out(
  replies: Sequence[Replies], verdicts: Sequence[bool | None]
) -> str:
  """Says how many answers count as none, as the owners have it."""
  count = sum(
    bool(reply.texts) and verdict is None
    for reply, verdict in zip(replies, verdicts, strict=True)
  )
  return f"{count} answers choose nothing and are left out" * bool(count)


def _groups(
  evaluator: "Evaluator", items: Sequence[Item], made: Scored
) -> list[Metric]:
  """The number of each group of items, if there are several groups."""
  groups = collections.defaultdict(list)
  for item, score in zip(items, made.score, strict=True):
    if "exact" in score:
      groups[item.group].append(score["exact"])
  if len(groups) < _FEWEST:
    return []
  return [
    intervals.mean(
      "accuracy",
      hits,
      intervals.draws(len(hits), evaluator.settings),
      protocol=f"exact, {name}",
    )
    for name, hits in sorted(groups.items())
  ]
