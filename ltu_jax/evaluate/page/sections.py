"""What the page tells of each set, as plain values for the templates."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from ltu_jax.evaluate.page import (
  chosen,
  folders,
  measures,
  per_class,
  words,
)
from ltu_jax.evaluate.page.chosen import Chosen
from ltu_jax.evaluate.page.comparing import Difference
from ltu_jax.evaluate.page.folders import Checkpoint, Run
from ltu_jax.evaluate.page.media import Clip, Key, Media
from ltu_jax.evaluate.result import ItemResult, Result


@dataclasses.dataclass(frozen=True)
class Shown:
  """An item on the page.

  Attributes:
    item: The item.
    clip: Its sound, where it is shown first.
    anchor: Where its sound is.
    reason: Why it has no sound.
  """

  item: ItemResult
  clip: Clip | None
  anchor: str
  reason: str


@dataclasses.dataclass(frozen=True)
class Part:
  """One checkpoint's part of a section.

  Attributes:
    name: Of the checkpoint.
    result: Its result.
    question: What was asked, if it was the same of all items; else "".
    facts: (what, value): when and where it was made, on what data.
    settings: (name, value).
    charts: Numbers by class.
    confusions: What was taken for what.
    chosen: Items.
    ends: (heading, items) of the worst and of the best.
  """

  name: str
  result: Result
  question: str
  facts: Sequence[tuple[str, str]]
  settings: Sequence[tuple[str, str]]
  charts: Sequence[per_class.Chart]
  confusions: Sequence[per_class.Confusion]
  chosen: Chosen
  ends: Sequence[tuple[str, Sequence[Shown]]]


@dataclasses.dataclass(frozen=True)
class Section:
  """A set on the page.

  Attributes:
    set: Name of the set.
    title: For people.
    kind: See sets/spec.py.
    names: Of the checkpoints that have a result.
    lines: Its metrics.
    gains: Differences of checkpoints.
    differences: What the results differ in beside the checkpoint.
    parts: One for each checkpoint.
  """

  set: str
  title: str
  kind: str
  names: Sequence[str]
  lines: Sequence[measures.Line]
  gains: Sequence[measures.Gain]
  differences: Sequence[Difference]
  parts: Sequence[Part]


Choices = Mapping[tuple[str, str], Chosen]
"""By set and checkpoint."""


def choose(checkpoints: Sequence[Checkpoint]) -> Choices:
  """Chooses the items of every result, in the order of the page."""
  return {
    (name, checkpoint.name): chosen.choose(run)
    for name in folders.set_names(checkpoints)
    for checkpoint, run in folders.with_set(checkpoints, name)
  }


def wanted(choices: Choices) -> Iterator[tuple[str, ItemResult]]:
  """The items to hear: of each result the worst, the best, the next worst."""
  for rank in range(chosen.ENDS):
    for (name, _), found in choices.items():
      for end in (found.worst, found.best):
        for item in itertools.islice(end, rank, rank + 1):
          yield name, item


def make(
  checkpoints: Sequence[Checkpoint],
  differences: Sequence[Difference],
  choices: Choices,
  media: Media,
) -> list[Section]:
  """Makes the sections in their order."""
  sounds = _Sounds(media)
  sections = []
  for name in folders.set_names(checkpoints):
    runs = folders.with_set(checkpoints, name)
    result = runs[0][1].result
    sections.append(
      Section(
        name,
        result.title,
        result.kind,
        [checkpoint.name for checkpoint, _ in runs],
        measures.lines(runs),
        measures.gains(runs),
        [d for d in differences if d.set == name],
        [
          _part(checkpoint.name, run, choices[name, checkpoint.name], sounds)
          for checkpoint, run in runs
        ],
      )
    )
  return sections


class _Sounds:
  """Shows each sound where its item comes first, and says where that is."""

  def __init__(self, media: Media):
    self._media = media
    self._placed: dict[Key, str] = {}

  def show(self, name: str, item: ItemResult) -> Shown:
    """An item of the set of a name."""
    key = name, item.id
    clip = self._media.clips.get(key)
    if clip is None:
      return Shown(item, None, "", self._media.reasons.get(key, ""))
    if key in self._placed:
      return Shown(item, None, self._placed[key], "")
    # Not the id: an anchor has no blanks.
    self._placed[key] = f"sound-{len(self._placed) + 1}"
    return Shown(item, clip, self._placed[key], "")


def _part(name: str, run: Run, found: Chosen, sounds: _Sounds) -> Part:
  """One checkpoint's part."""
  result = run.result
  questions = {item.question for item in run.items}
  ends = [
    (heading, [sounds.show(result.set, item) for item in items])
    for heading, items in (
      ("Worst items", found.worst),
      ("Best items", found.best),
    )
    if items
  ]
  return Part(
    name,
    result,
    questions.pop() if len(questions) == 1 else "",
    _facts(result),
    [(key, words.shown(x)) for key, x in words.flat(result.settings).items()],
    per_class.charts(result.classes, result.headline),
    per_class.confusions(result.classes, result.headline),
    found,
    ends,
  )


def _facts(result: Result) -> list[tuple[str, str]]:
  """When, where and on what a result was made."""
  data = result.data
  counts = [
    f"{number:,} {word}"
    for word, key in (
      ("listed", "total"),
      ("found", "found"),
      ("unreadable", "unreadable"),
      ("asked", "items"),
    )
    if (number := words.amount(data.get(key))) is not None
  ]
  missing = data.get("missing") or ()
  sources = words.flat({"source": data.get("source") or ""})
  facts = [
    ("Made", result.made),
    ("Took", _duration(result.seconds)),
    ("Devices", result.devices),
    ("Revision", result.revision or "not in a repository"),
    ("Versions", ", ".join(f"{k} {v}" for k, v in result.versions.items())),
    ("Items", ", ".join(counts)),
    ("Not found, first", words.shown(missing) if missing else ""),
    *(
      ("Data " + key.removeprefix("source.").removeprefix("source"), str(value))
      for key, value in sources.items()
    ),
  ]
  return [(name.strip(), value) for name, value in facts if value]


def _duration(seconds: float) -> str:
  """A time for people."""
  if seconds < 120:
    return f"{seconds:.0f} s"
  minutes = round(seconds / 60)
  if minutes < 120:
    return f"{minutes} min"
  return f"{minutes // 60} h {minutes % 60} min"
