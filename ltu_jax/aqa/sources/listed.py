"""What a source's table says about one clip, before its sound is found."""

import dataclasses
from collections.abc import Iterable, Iterator

from ltu_jax.aqa.records import ClipRecord, Event
from ltu_jax.evaluate.sets.clip import Clip


@dataclasses.dataclass(frozen=True)
class Listed:
  """A clip of a table.

  Attributes:
    record: What is known of it; `audio` is the first of `names`.
    names: Names that its sound file may have, see `AudioFiles.find`.
    where: File and line, for errors.
    in_place: Whether the file must lie in the folders of its name.
    seconds: How long the sound is; None if the table does not say.
  """

  record: ClipRecord
  names: tuple[str, ...]
  where: str
  in_place: bool = False
  seconds: float | None = None


def labelled(
  clips: Iterable[Clip], dataset: str, split: str
) -> Iterator[Listed]:
  """Yields clips of a set's reader whose truths are labels, each label once."""
  for clip in clips:
    events = tuple(map(Event, dict.fromkeys(clip.truth)))
    yield _listed(clip, dataset, split, events=events)


def captioned(
  clips: Iterable[Clip], dataset: str, split: str
) -> Iterator[Listed]:
  """Yields clips of a set's reader whose truths are captions."""
  for clip in clips:
    yield _listed(clip, dataset, split, captions=clip.truth)


def _listed(clip: Clip, dataset: str, split: str, **known: tuple) -> Listed:
  """Makes a record of a clip."""
  record = ClipRecord(
    clip.id, dataset, audio=clip.names[0], split=split, **known
  )
  return Listed(record, clip.names, clip.where, clip.in_place)
