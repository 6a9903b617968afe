"""Statistics of OpenAQA files, in one pass and bounded memory."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ltu_jax.aqa.quality.digests import digest
from ltu_jax.aqa.quality.distinct import Distinct
from ltu_jax.aqa.quality.diversity import Diversity
from ltu_jax.aqa.quality.flag import kind_of
from ltu_jax.aqa.quality.frequent import Frequent
from ltu_jax.aqa.quality.gates import DEFAULTS, Counts, Gates, GateSettings
from ltu_jax.aqa.quality.lengths import Lengths
from ltu_jax.aqa.quality.question_types import TYPES, question_type
from ltu_jax.aqa.quality.reading import Files
from ltu_jax.aqa.quality.words import words
from tfds_builders.openaqa.full.entries import Entry

_MOST_GROUPS = 1000
"""Pairs of source and task; further ones are counted as `others`."""

_OTHERS = ("others", "others")

_SHOWN = 20
"""Most frequent questions and openings."""

_PIECE = 4096


def collect(
  paths: Sequence[str | os.PathLike], settings: GateSettings = DEFAULTS
) -> dict[str, Any]:
  """Reads files and counts.

  Args:
    paths: JSON files of the published form; all are counted together.
    settings: How the gates are set.

  Returns:
    Plain values: what was read, `questions`, `clips`, `groups` (by source and
    task), `classes` (open-ended and closed-ended, see `_Class.as_json`) and
    `check` (what the gates flag).

  Raises:
    AqaError: A file cannot be read.
  """
  files = Files(paths)
  gates = Gates(settings, num_bytes=files.num_bytes)
  all_ = _All()
  flagged = Counts()
  for entry in files:
    all_.add(entry)
    flagged.add(entry.task, gates.flags(entry))
  return {
    **files.as_json(),
    **all_.as_json(),
    "check": flagged.as_json() | {"not_remembered": gates.forgotten},
  }


class _All:
  """Everything that is counted but the gates."""

  def __init__(self):
    """Nothing yet."""
    self._clips, self._new_clips = Distinct(), []
    self._groups: dict[tuple[str, str], _Group] = {}
    self._classes = {"open-ended": _Class(), "closed-ended": _Class()}

  def add(self, entry: Entry) -> None:
    """Counts a question."""
    self._new_clips.append(digest(entry.audio_id))
    if len(self._new_clips) >= _PIECE:
      self._count_clips()
    question = f"{entry.instruction} {entry.input}".strip()
    asked, answered = words(question), words(entry.output)
    key = entry.dataset, entry.task
    if key not in self._groups and len(self._groups) >= _MOST_GROUPS:
      key = _OTHERS
    group = self._groups.setdefault(key, _Group())
    group.questions.add(len(asked))
    group.answers.add(len(answered))
    group.count += 1
    name = "closed-ended" if kind_of(entry.task).is_closed else "open-ended"
    self._classes[name].add(question, entry.output, asked, answered)

  def as_json(self) -> dict[str, Any]:
    """Returns plain values."""
    self._count_clips()
    total = sum(group.count for group in self._groups.values())
    groups = [
      {"dataset": dataset, "task": task, **group.as_json(total)}
      for (dataset, task), group in sorted(self._groups.items())
    ]
    return {
      "questions": total,
      "clips": {"count": self._clips.count, "exact": self._clips.is_exact},
      "groups": groups,
      "classes": {name: x.as_json() for name, x in self._classes.items()},
    }

  def _count_clips(self) -> None:
    """Counts the clips that wait."""
    self._clips.add(np.array(self._new_clips, np.uint64))
    self._new_clips = []


class _Group:
  """The questions of one task of one source."""

  def __init__(self):
    """Nothing yet."""
    self.count, self.questions, self.answers = 0, Lengths(), Lengths()

  def as_json(self, total: int) -> dict[str, Any]:
    """Returns plain values."""
    return {
      "questions": self.count,
      "share": self.count / total,
      "question_words": self.questions.as_json(),
      "answer_words": self.answers.as_json(),
    }


class _Class:
  """All open-ended questions, or all closed-ended ones."""

  def __init__(self):
    """Nothing yet."""
    self._count = 0
    self._lengths = {"questions": Lengths(), "answers": Lengths()}
    self._diversity = {"questions": Diversity(), "answers": Diversity()}
    self._types: Counter[str] = Counter()
    self._openings, self._questions = Frequent(), Frequent()

  def add(
    self, question: str, answer: str, asked: list[str], answered: list[str]
  ) -> None:
    """Counts a question and its answer, both with their words."""
    self._count += 1
    for name, text, found in (
      ("questions", question, asked),
      ("answers", answer, answered),
    ):
      self._lengths[name].add(len(found))
      self._diversity[name].add(text, found)
    self._types[question_type(asked)] += 1
    self._openings.add(" ".join(asked[:2]))
    self._questions.add(question)

  def as_json(self) -> dict[str, Any]:
    """Returns plain values.

    `types` by name; `openings` and `frequent`, the most frequent first two
    words and questions, with by how much these may be counted too low; of
    `questions` and `answers`: lengths, their counts by words, and diversity.
    """
    texts = {
      name: {
        "words": self._lengths[name].as_json(),
        "counts_by_words": self._lengths[name].counts(),
        **self._diversity[name].as_json(),
      }
      for name in self._lengths
    }
    return {
      "count": self._count,
      "types": {name: self._types[name] for name in TYPES},
      "openings": self._openings.top(_SHOWN),
      "openings_low_by": self._openings.low_by,
      "frequent": self._questions.top(_SHOWN),
      "frequent_low_by": self._questions.low_by,
      **texts,
    }
