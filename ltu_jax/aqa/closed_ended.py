"""Closed-ended questions: there is one right answer, and it is known.

The forms of the answers are those of OpenAQA: `Labels: A; B`,
`Labels with acoustic features: Feature of A -> A; Feature of B -> B`,
times as `[0.0s-1.2s, 3.4s-5.0s]`.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Collection, Iterator

from ltu_jax.aqa import paraphrases
from ltu_jax.aqa.paraphrases import Ways
from ltu_jax.aqa.records import ClipRecord, Event, Question

PREFIX = "Closed-ended question: "
"""What half of OpenAQA's closed-ended questions begin with in stage 4."""

TASKS = (
  "cla_label",
  "cla_label_des",
  "caption",
  "temporal_single",
  "temporal_order",
  "temporal_all",
)
"""What can be asked, in the order in which it is."""

STYLED = "caption_style"
"""Section of the ways to ask for a caption in the style of a data set."""


@dataclasses.dataclass(frozen=True)
class Manner:
  """How questions are asked; as it is, the manner of `openaqa/mini`.

  Attributes:
    ways: Ways to ask, by section; None for those of `paraphrases.txt`.
    seed: Changes every choice.
    prefix: Probability that a question begins with `PREFIX`.
    style: The data set whose style questions for a caption name; may be empty.
    tasks: What is asked.
  """

  ways: Ways | None = None
  seed: int = 0
  prefix: float = 0.0
  style: str = ""
  tasks: Collection[str] = TASKS


MINI = Manner()
"""The manner of `openaqa/mini`."""


def make(
  clip: ClipRecord, manner: Manner = MINI, copy: int = 0
) -> list[Question]:
  """Makes every closed-ended question that the record can answer.

  Args:
    clip: The record; events in order of onset if they have times.
    manner: How to ask.
    copy: Number of a clip that is there more than once: its questions are
      worded otherwise than those of lower numbers, as long as there are ways.

  Returns:
    Two classifications if there are events, one with acoustic features if all
    are known, a question for each caption, and with times: one event's, all
    events', their order (the last two if there are several).
  """
  asker = _Asker(clip, manner, copy)
  return [
    asker.prefixed(number, question)
    for number, question in enumerate(asker.all())
  ]


class _Asker:
  """Asks about one clip."""

  def __init__(self, clip: ClipRecord, manner: Manner, copy: int):
    self._clip, self._manner, self._copy = clip, manner, copy
    # What choices are made by.
    self._key = f"{manner.seed}:{clip.id}" if manner.seed else clip.id

  def all(self) -> Iterator[Question]:
    """Yields all questions in the order of `TASKS`."""
    clip, tasks = self._clip, self._manner.tasks
    several = len(clip.events) > 1
    if clip.events and "cla_label" in tasks:
      yield from self._labels()
    if clip.has_features and "cla_label_des" in tasks:
      yield self._labels_with_features()
    if clip.captions and "caption" in tasks:
      yield from self._captions()
    if clip.has_times:
      if "temporal_single" in tasks:
        yield self._times_of_one()
      if several and "temporal_order" in tasks:
        yield from self._order()
      if several and "temporal_all" in tasks:
        yield self._times_of_all()

  def prefixed(self, number: int, question: Question) -> Question:
    """Returns the question, with `PREFIX` if it is its turn."""
    if not self._manner.prefix:
      return question
    seed = f"{self._key}/{self._copy}/{number}/prefix"
    digest = hashlib.blake2b(seed.encode(errors="replace"), digest_size=8)
    # Evenly spread over [0, 1).
    if int.from_bytes(digest.digest()) / 2**64 >= self._manner.prefix:
      return question
    return dataclasses.replace(
      question, instruction=PREFIX + question.instruction
    )

  def _choose(self, section: str, count: int = 1) -> list[str]:
    """Chooses ways to ask."""
    return paraphrases.choose(
      self._key, section, count, copy=self._copy, ways=self._manner.ways
    )

  def _question(self, task: str, output: str, **names: str) -> Question:
    """Asks in one of the task's ways, with labels put in for `names`."""
    (instruction,) = self._choose(task)
    return Question(
      instruction.format(**names), output, task, self._clip.dataset
    )

  def _labels(self) -> Iterator[Question]:
    """Asks for the labels, in two ways."""
    output = "Labels: " + "; ".join(event.label for event in self._clip.events)
    for instruction in self._choose("cla_label", 2):
      yield Question(instruction, output, "cla_label", self._clip.dataset)

  def _labels_with_features(self) -> Question:
    """Asks for the labels and how they sound."""
    output = "Labels with acoustic features: " + "; ".join(
      f"{event.feature} -> {event.label}" for event in self._clip.events
    )
    return self._question("cla_label_des", output)

  def _captions(self) -> Iterator[Question]:
    """Asks for each caption, in the style of its source if that has one."""
    clip, style = self._clip, self._manner.style
    ways = self._choose(STYLED if style else "caption", len(clip.captions))
    for instruction, caption in zip(ways, clip.captions, strict=True):
      instruction = instruction.format(style=style)
      yield Question(instruction, caption, "caption", clip.dataset)

  def _times_of_one(self) -> Question:
    """Asks when one of the events is heard; each copy asks for another."""
    events = self._clip.events
    first = paraphrases.chooser(self._key, "which event").choice(events)
    place = (events.index(first) + self._copy) % len(events)
    event = events[place]
    return self._question("temporal_single", event.times, sound=event.label)

  def _times_of_all(self) -> Question:
    """Asks when each event is heard."""
    output = "; ".join(f"{e.label}: {e.times}" for e in self._clip.events)
    return self._question("temporal_all", output)

  def _order(self) -> Iterator[Question]:
    """Asks for the order in which the events begin, if they do so in turn.

    Those that begin in the same tenth of a second, as times are written, are
    named together.
    """
    tenth = lambda event: round(event.onset, 1)
    events = sorted(self._clip.events, key=lambda event: event.onset)
    turns = [_joined(turn) for _, turn in itertools.groupby(events, tenth)]
    if len(turns) > 1:
      output = "First " + ", then ".join(turns)
      yield self._question("temporal_order", output)


def _joined(events: Iterator[Event]) -> str:
  """Names events that begin together: `A`, `A and B`, `A, B and C`."""
  *labels, last = (event.label for event in events)
  return f"{', '.join(labels)} and {last}" if labels else last
