"""What a set of questions is made of: exact counts by source and task."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ltu_jax.aqa.records import ClipRecord, Question
from ltu_jax.evaluate import markdown

CLIPS = {
  "listed": "clips that the tables list",
  "missing": "left out, unless --keep_missing is given: no sound file",
  "too_long": "left out: longer than the recipe's max_seconds",
  "not_drawn": "left out: the recipe's repeat is below 1",
  "nothing_asked": "without a closed-ended question, by the recipe's tasks",
  "asked": "clips with questions",
  "copies": "of them, with repetitions",
}
"""What can become of clips. A missing one may be asked about all the same."""


@dataclasses.dataclass
class Composition:
  """Counts; what several processes counted can be added up.

  Attributes:
    clips: For each data set, clips by the keys of `CLIPS`.
    questions: For each data set, questions by task.
    prefixed: Questions with the prefix, by data set.
    unfeatured: Events without an acoustic feature, by label.
  """

  clips: dict[str, collections.Counter[str]] = dataclasses.field(
    default_factory=dict
  )
  questions: dict[str, collections.Counter[str]] = dataclasses.field(
    default_factory=dict
  )
  prefixed: collections.Counter[str] = dataclasses.field(
    default_factory=collections.Counter
  )
  unfeatured: collections.Counter[str] = dataclasses.field(
    default_factory=collections.Counter
  )

  def add_clip(self, dataset: str, *kinds: str) -> None:
    """Counts a clip; kinds are keys of `CLIPS`."""
    counts = self.clips.setdefault(dataset, collections.Counter())
    for kind in kinds:
      counts[kind] += 1

  def add_questions(
    self, clip: ClipRecord, questions: Iterable[Question], prefix: str
  ) -> None:
    """Counts the questions of one copy of a clip."""
    counts = self.questions.setdefault(clip.dataset, collections.Counter())
    for question in questions:
      counts[question.task] += 1
      if question.instruction.startswith(prefix):
        self.prefixed[clip.dataset] += 1

  def merge(self, other: "Composition") -> None:
    """Adds what another counted."""
    for mine, theirs in (
      (self.clips, other.clips),
      (self.questions, other.questions),
    ):
      for dataset, counts in theirs.items():
        mine.setdefault(dataset, collections.Counter()).update(counts)
    self.prefixed.update(other.prefixed)
    self.unfeatured.update(other.unfeatured)

  def total(self) -> int:
    """All questions."""
    return sum(counts.total() for counts in self.questions.values())

  def as_json(self) -> dict[str, Any]:
    """Returns all counts and shares; shares have four decimals."""
    total = self.total()
    return {
      "questions": total,
      "clips": self._clips(),
      "tasks": _shares(self._tasks(), total),
      "datasets": {
        dataset: {
          "clips": {kind: clips[kind] for kind in CLIPS},
          "questions": self._of(dataset).total(),
          "share": _share(self._of(dataset).total(), total),
          "prefixed": self.prefixed[dataset],
          "tasks": _shares(self._of(dataset), total),
        }
        for dataset, clips in sorted(self.clips.items())
      },
      "labels_without_feature": dict(
        sorted(self.unfeatured.items(), key=lambda item: (-item[1], item[0]))
      ),
    }

  def as_markdown(self) -> str:
    """Returns the counts as tables."""
    total = self.total()
    tasks = list(self._tasks())
    questions = [
      [dataset]
      + [f"{self._of(dataset)[task]:,}" for task in tasks]
      + [f"{self._of(dataset).total():,}"]
      + [f"{100 * _share(self._of(dataset).total(), total):.2f} %"]
      for dataset in sorted(self.clips)
    ]
    sums = self._tasks()
    questions.append(
      ["all"]
      + [f"{sums[task]:,}" for task in tasks]
      + [f"{total:,}", "100 %" if total else "0 %"]
    )
    questions.append(
      ["share"]
      + [f"{100 * _share(sums[task], total):.2f} %" for task in tasks]
      + ["100 %" if total else "0 %", ""]
    )
    clips = [
      [dataset, *(f"{self.clips[dataset][kind]:,}" for kind in CLIPS)]
      for dataset in sorted(self.clips)
    ]
    meaning = [f"- `{kind}`: {words}" for kind, words in CLIPS.items()]
    return "\n".join(
      [
        "# Composition",
        "",
        "## Questions",
        "",
        markdown.table(["source", *tasks, "all", "share"], questions),
        "",
        f"{self.prefixed.total():,} of them begin with the prefix of "
        "closed-ended questions.",
        "",
        "## Clips",
        "",
        markdown.table(["source", *CLIPS], clips),
        "",
        *meaning,
        "",
      ]
    )

  def _of(self, dataset: str) -> collections.Counter[str]:
    """Questions of a data set by task."""
    return self.questions.get(dataset, collections.Counter())

  def _tasks(self) -> collections.Counter[str]:
    """Questions of all data sets by task, in order of the names."""
    sums = collections.Counter()
    for counts in self.questions.values():
      sums.update(counts)
    return collections.Counter(dict(sorted(sums.items())))

  def _clips(self) -> dict[str, int]:
    """Clips of all data sets."""
    return {
      kind: sum(counts[kind] for counts in self.clips.values())
      for kind in CLIPS
    }


def _share(count: int, total: int) -> float:
  """A part of all; 0 of nothing."""
  return round(count / total, 4) if total else 0.0


def _shares(
  counts: Mapping[str, int], total: int
) -> dict[str, dict[str, float]]:
  """Counts, with the share that each is of all questions."""
  return {
    task: {"questions": count, "share": _share(count, total)}
    for task, count in sorted(counts.items())
  }
