"""Reads meta information in the one-line form of the published recipe.

`ClipRecord.meta_line` writes it. The published records have the events under
`temporal`, without `Sound Events: `, and the caption apart.
"""

import pathlib
import re
from collections.abc import Container, Iterator

from ltu_jax.aqa.records import ClipRecord, Event, Span
from ltu_jax.evaluate.sets import tables
from ltu_jax.evaluate.sets.audio_files import stem

_HEAD = "Sound Events: "
_CAPTION = "Description: "

# Published acoustic features have commas, brackets and even line breaks, so
# that only the start of the next event tells where one ends.
_NEXT = re.compile(r"; (?=Sound of )")
_SPAN = r"\d+\.\ds-\d+\.\ds"
_EVENT = re.compile(
  rf"Sound of (?P<name>.+?)(: \[(?P<spans>{_SPAN}(, {_SPAN})*)\])?", re.DOTALL
)


def parse(
  line: str,
  clip_id: str = "",
  dataset: str = "",
  *,
  labels: Container[str] = (),
) -> ClipRecord:
  """Reads a line such as `ClipRecord.meta_line` gives.

  What stands in brackets at the end of a name is its acoustic feature.

  Args:
    line: The line; `Sound Events: ` may lack.
    clip_id: Of the record.
    dataset: Of the record.
    labels: Labels that end in a bracket themselves, as `Motor vehicle (road)`;
      one of these alone has no feature.

  Raises:
    ValueError: It has not this form; says where.
  """
  events, captions = line, ()
  if line.startswith(_CAPTION):
    events, captions = "", (line.removeprefix(_CAPTION),)
  elif f"; {_CAPTION}" in line:
    events, _, caption = line.partition(f"; {_CAPTION}")
    captions = (caption,)
  events = events.removeprefix(_HEAD)
  return ClipRecord(
    clip_id,
    dataset,
    tuple(_event(text, labels) for text in _NEXT.split(events) if text),
    captions,
  )


def read_published(path: pathlib.Path) -> Iterator[ClipRecord]:
  """Yields the records of a published file of meta information.

  A JSON list of objects with `audio_id`, `dataset`, `temporal` and `caption`.

  Raises:
    EvaluateError: The file is damaged; names the entry.
  """
  for row in tables.read_json(path):
    audio = row.text("audio_id")
    line = row.text("temporal", "")
    if caption := row.text("caption", ""):
      line += f"; {_CAPTION}{caption}" if line else f"{_CAPTION}{caption}"
    try:
      clip = parse(line, stem(audio), row.text("dataset", ""))
    except ValueError as error:
      raise row.error(error) from error
    yield ClipRecord(
      clip.id, clip.dataset, clip.events, clip.captions, audio=audio
    )


def _event(text: str, labels: Container[str]) -> Event:
  """Reads one event."""
  found = _EVENT.fullmatch(text)
  if not found:
    raise ValueError(
      f"{text[:80]!r} is no event; it has to be Sound of LABEL (FEATURE): "
      "[0.0s-1.2s, ...]"
    )
  name, feature = found["name"], ""
  if name not in labels:
    name, feature = _cut(name)
  spans = (found["spans"] or "").replace("s", "")
  return Event(name, feature, tuple(map(_span, filter(None, spans.split(",")))))


def _span(text: str) -> Span:
  """Reads `0.0-1.2`."""
  onset, offset = map(float, text.split("-"))
  if onset > offset:
    raise ValueError(f"{text.strip()} s ends before it starts")
  return Span(onset, offset)


def _cut(name: str) -> tuple[str, str]:
  """Cuts off the last bracket, with those that are in it."""
  if not name.endswith(")"):
    return name, ""
  depth = 0
  for place in range(len(name) - 1, 0, -1):
    depth += {")": 1, "(": -1}.get(name[place], 0)
    if not depth:
      return name[:place].rstrip(" "), name[place + 1 : -1]
  return name, ""
