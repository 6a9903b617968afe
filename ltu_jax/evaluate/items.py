"""Which held-out questions are asked: a fair choice, always the same.

One question a clip and kind, as paraphrases about one clip are not independent.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from ltu_jax.data.question_source import Question, QuestionSource
from ltu_jax.evaluate import parsing

LABELS, ORDER = "cla_label", "temporal_order"
"""Names of the two tasks in OpenAQA."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Item:
  """One question with its truth.

  Attributes:
    question: What is asked, with the clip.
    truth: Labels, normalised, in the order of their onsets.
    recordings: What the clip is made of; its own id where that is not known.
  """

  question: Question
  truth: tuple[str, ...]
  recordings: tuple[str, ...]


def choose_single_events(source: QuestionSource, items: int) -> list[Item]:
  """Chooses questions for the label of clips with one sound.

  Args:
    source: The questions.
    items: How many at most.

  Returns:
    One question a clip, evenly spread over the classes, and within a class over
    its recordings; always the same ones.
  """
  found = [item for item in _items(source, LABELS) if len(item.truth) == 1]
  by_class = _groups(found, lambda item: item.truth)
  turns = [
    _in_turn(_groups(of_class, lambda item: item.recordings))
    for of_class in by_class
  ]
  return _in_turn(turns)[:items]


def choose_several_events(source: QuestionSource, items: int) -> list[Item]:
  """Chooses questions for the order of sounds.

  Args:
    source: The questions.
    items: How many at most.

  Returns:
    One question a clip, at even distances in the data set, so that the share
    of clips with two, three, ... sounds stays what it is.
  """
  found = [item for item in _items(source, ORDER) if len(item.truth) > 1]
  if len(found) <= items:
    return found
  return [found[place * len(found) // items] for place in range(items)]


def tasks_in(source: QuestionSource) -> list[str]:
  """Returns the names of the tasks that the questions have, sorted by id."""
  return [source.index.tasks[task] for task in np.unique(source.index.task)]


def _items(source: QuestionSource, task: str) -> list[Item]:
  """The first question of a task about each clip, in order of clips."""
  if task not in tasks_in(source):
    return []
  read = parsing.order if task == ORDER else parsing.labels
  part = source.select(tasks=[task])
  _, rows = np.unique(part.index.clip, return_index=True)
  items = []
  for row in rows:
    question = part[int(row)]
    events = source.record(question.clip).get("events", {})
    names = [name.decode() for name in events.get("recording", [])]
    recordings = tuple(sorted(names)) or (question.clip_id,)
    items.append(Item(question, tuple(read(question.output)), recordings))
  return items


def _groups(items: Sequence[T], key: Callable[[T], Any]) -> list[list[T]]:
  """Groups by key, groups in order of their keys."""
  groups = collections.defaultdict(list)
  for item in items:
    groups[key(item)].append(item)
  return [groups[name] for name in sorted(groups)]


def _in_turn(groups: Sequence[Sequence[T]]) -> list[T]:
  """The first of each group, then the second of each that has one, ..."""
  turns = itertools.zip_longest(*groups)
  return [item for turn in turns for item in turn if item is not None]
