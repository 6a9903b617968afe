"""Which items of a result are shown: the worst, the best, some captions."""

import collections
import dataclasses
import zlib
from collections.abc import Sequence

from ltu_jax.evaluate.page import paired, words
from ltu_jax.evaluate.page.folders import Run
from ltu_jax.evaluate.result import ItemResult
from ltu_jax.evaluate.sets.spec import CAPTIONS

ENDS = 5
"""Items shown of the worst, and of the best."""

_CAPTIONS = 8
"""Clips whose captions are shown."""

_ERRORS = 10
"""Items without an answer that are named."""

_MOST_GROUPS = 60


@dataclasses.dataclass(frozen=True)
class Chosen:
  """Items of one result.

  Attributes:
    worst: By the score of the headline's protocol, the worst first.
    best: The best first; none of them is among the worst.
    captions: Of a set of captions, some more, whatever their score.
    errors: (why there is no answer, number, ids of the first) of all errors.
    groups: (group, items, mean score in percent), where there are several.
  """

  worst: Sequence[ItemResult]
  best: Sequence[ItemResult]
  captions: Sequence[ItemResult]
  errors: Sequence[tuple[str, str, str]]
  groups: Sequence[tuple[str, str, str]]


def choose(run: Run) -> Chosen:
  """Chooses items; of items with the same score, always the same ones."""
  metric = run.result.headline
  scored = [
    (value, item)
    for item in run.items
    if not item.error and (value := paired.score(item, metric)) is not None
  ]
  scored.sort(key=lambda x: (x[0], _place(x[1])))
  ends = min(ENDS, (len(scored) + 1) // 2)
  worst = [item for _, item in scored[:ends]]
  # Those with the same score in the same order as among the worst.
  rest = sorted(scored[ends:], key=lambda x: (-x[0], _place(x[1])))
  best = [item for _, item in rest[:ends]]
  captions = []
  if run.result.kind == CAPTIONS:
    shown = {item.id for item in (*worst, *best)}
    others = [item for _, item in scored if item.id not in shown]
    captions = sorted(others, key=_place)[:_CAPTIONS]
  return Chosen(worst, best, captions, _errors(run.items), _groups(scored))


def _place(item: ItemResult) -> int:
  """A place in an order that has nothing to do with the set's."""
  return zlib.crc32(item.id.encode("utf-8", "backslashreplace"))


def _errors(items: Sequence[ItemResult]) -> list[tuple[str, str, str]]:
  """Counts errors by what they say, the most frequent first."""
  ids = collections.defaultdict(list)
  for item in items:
    if item.error:
      # Most name their file first, and would all differ.
      for name in (item.path, item.audio, item.id):
        if name and item.error.startswith(f"{name}: "):
          ids[item.error.removeprefix(f"{name}: ")].append(item.id)
          break
      else:
        ids[item.error].append(item.id)
  most = sorted(ids.items(), key=lambda x: -len(x[1]))
  return [
    (error, f"{len(found):,}", ", ".join(found[:_ERRORS]))
    for error, found in most[:_ERRORS]
  ]


def _groups(
  scored: Sequence[tuple[float, ItemResult]],
) -> list[tuple[str, str, str]]:
  """The mean score of each group."""
  groups = collections.defaultdict(list)
  for value, item in scored:
    groups[item.group].append(value)
  if not 1 < len(groups) <= _MOST_GROUPS:
    return []
  return [
    (
      name or "no group",
      f"{len(values):,}",
      words.percent(sum(values) / len(values)),
    )
    for name, values in sorted(groups.items())
  ]
