"""What is known of a clip, and what is asked about it.

A `ClipRecord` is the meta information from which questions are made: the events
of a clip with acoustic feature and times, and a caption. It is what the
published recipe calls the meta information of AudioSet-strong, whose one line
`ClipRecord.meta_line` writes.
"""

import csv
import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Span:
  """When something sounds.

  Attributes:
    onset: Start in seconds from the start of the clip.
    offset: End in seconds, not before `onset`.
  """

  onset: float
  offset: float

  def __str__(self) -> str:
    """Returns the form of OpenAQA: `0.0s-10.0s`."""
    return f"{self.onset:.1f}s-{self.offset:.1f}s"


@dataclasses.dataclass(frozen=True)
class Event:
  """One sound of a clip.

  Attributes:
    label: Name of the sound, as `Church bell`.
    feature: How it sounds, as `Semi-musical and reverberant`; may be empty.
    spans: When it sounds, in order of time; empty if that is not known.
  """

  label: str
  feature: str = ""
  spans: tuple[Span, ...] = ()

  @property
  def onset(self) -> float:
    """When it is first heard, in seconds."""
    return self.spans[0].onset

  @property
  def offset(self) -> float:
    """When it is last heard, in seconds."""
    return self.spans[-1].offset

  @property
  def seconds(self) -> float:
    """How long it sounds altogether."""
    return sum(span.offset - span.onset for span in self.spans)

  @property
  def times(self) -> str:
    """All spans in the form of OpenAQA: `[0.0s-1.2s, 3.4s-5.0s]`."""
    return "[" + ", ".join(map(str, self.spans)) + "]"


@dataclasses.dataclass(frozen=True)
class ClipRecord:
  """All that is known of a clip: strong, weak or a caption alone.

  Attributes:
    id: Name of the clip; also the seed of every choice made for it.
    dataset: Where the clip is from, as `as_strong_train`.
    events: Its sounds; may be none. Those with times are in order of onset.
    captions: Sentences about it; may be none.
    audio: Its sound file, within the folder of all sounds; may be empty.
    split: Part of its source, as `train`; may be empty.
  """

  id: str
  dataset: str
  events: tuple[Event, ...] = ()
  captions: tuple[str, ...] = ()
  audio: str = ""
  split: str = ""

  @property
  def caption(self) -> str:
    """The first caption; empty if there is none."""
    return self.captions[0] if self.captions else ""

  @property
  def has_times(self) -> bool:
    """Whether it is known of all its events when they sound."""
    return bool(self.events) and all(event.spans for event in self.events)

  @property
  def has_features(self) -> bool:
    """Whether it is known of all its events how they sound."""
    return bool(self.events) and all(event.feature for event in self.events)

  def meta_line(self) -> str:
    """Returns everything in one line, as the published recipe shows it."""
    parts = []
    if self.events:
      parts.append(f"Sound Events: {'; '.join(map(_meta, self.events))}")
    if self.caption:
      parts.append(f"Description: {self.caption}")
    return "; ".join(parts)


def _meta(event: Event) -> str:
  """Returns an event as the published recipe shows it."""
  feature = f" ({event.feature})" if event.feature else ""
  times = f": {event.times}" if event.spans else ""
  return f"Sound of {event.label}{feature}{times}"


@dataclasses.dataclass(frozen=True)
class Question:
  """One question with its answer, named as in OpenAQA's files.

  Attributes:
    instruction: The question.
    output: The answer.
    task: `cla_label`, `cla_label_des`, `caption`, `temporal_order`,
      `temporal_single`, `temporal_all` or `open-ended question`.
    dataset: Where the clip is from.
  """

  instruction: str
  output: str
  task: str
  dataset: str


def published_entry(clip: ClipRecord, question: Question) -> dict[str, str]:
  """Returns a question about a clip in the published format."""
  return {
    "instruction": question.instruction,
    "input": "",
    "audio_id": clip.audio or clip.id,
    "dataset": question.dataset,
    "task": question.task,
    "output": question.output,
  }


@dataclasses.dataclass(frozen=True)
class SoundFacts:
  """What everybody knows of a sound: the grounds of open-ended answers.

  Attributes:
    label: Name of the sound.
    feature: How it sounds, as OpenAQA's acoustic features.
    phrase: A clause with it as subject, as `a fire crackles`.
    cue: What tells it apart, as `irregular crackle`.
    cause: A clause that explains it, as `something burns`.
    origin: What makes it: `machine`, `music`, `nature` or `person`.
  """

  label: str
  feature: str
  phrase: str
  cue: str
  cause: str
  origin: str


def read_facts(path: str | os.PathLike) -> dict[str, SoundFacts]:
  """Reads facts from a table with a header line and tabs between columns.

  Args:
    path: The table; its columns are the fields of `SoundFacts`.

  Returns:
    The facts by label.
  """
  with open(path, encoding="utf-8", newline="") as file:
    rows = csv.DictReader(file, delimiter="\t")
    return {row["label"]: SoundFacts(**row) for row in rows}


def phrase(event: Event, facts: Mapping[str, SoundFacts]) -> str:
  """Returns a clause about an event, without a capital or a full stop."""
  known = facts.get(event.label)
  return known.phrase if known else f"{event.label.lower()} is heard"


def describe(events: Sequence[Event], facts: Mapping[str, SoundFacts]) -> str:
  """Returns a caption that tells the events in order of onset.

  Args:
    events: Events with one span each, in order of onset.
    facts: What is known of their labels; others are named as they are.

  Returns:
    One sentence, as `A fire crackles, then glass breaks.`
  """
  sentence = phrase(events[0], facts)
  for before, event in itertools.pairwise(events):
    join = "while" if event.onset < before.offset else "then"
    sentence += f", {join} {phrase(event, facts)}"
  return sentence[0].upper() + sentence[1:] + "."
