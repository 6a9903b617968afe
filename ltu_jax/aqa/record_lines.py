"""Records as JSON lines: one object for each clip.

{"id": "LZq4Neh-oWU", "dataset": "as_strong_train", "audio": "train/L.flac",
 "split": "train", "events": [{"label": "Church bell", "feature": "Resonant",
 "spans": [[0.0, 10.0]]}], "captions": ["A church bell rings."]}

`id` is needed, and so is one of `events` and `captions`. In an event only
`label` is; `spans` are pairs of seconds. Other keys are ignored.
"""

import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

from ltu_jax.aqa.records import ClipRecord, Event, Span
from ltu_jax.evaluate.sets import tables
from ltu_jax.evaluate.sets.tables import Row


def write(clip: ClipRecord) -> str:
  """Returns a record as one line of JSON, without its end; ASCII alone."""
  return json.dumps(
    {
      "id": clip.id,
      "dataset": clip.dataset,
      "audio": clip.audio,
      "split": clip.split,
      "events": [
        {
          "label": event.label,
          "feature": event.feature,
          "spans": [[span.onset, span.offset] for span in event.spans],
        }
        for event in clip.events
      ],
      "captions": clip.captions,
    }
  )


def read(path: pathlib.Path) -> Iterator[ClipRecord]:
  """Yields the records of a file.

  Args:
    path: The file.

  Raises:
    EvaluateError: It cannot be read, or a line is no record; names the line.
  """
  for row in tables.read_json_lines(path):
    yield parse(row)


def parse(row: Row, dataset: str = "") -> ClipRecord:
  """Makes a record of a line.

  Args:
    row: The line.
    dataset: Of lines that name none.

  Raises:
    EvaluateError: It is no record; names the line.
  """
  events = tuple(_event(row, value) for value in _list(row, "events"))
  captions = tuple(
    _text(row, value, "a caption") for value in _list(row, "captions")
  )
  if not events and not captions:
    raise row.error("it has neither events nor captions")
  if all(event.spans for event in events):
    events = tuple(sorted(events, key=lambda event: event.onset))
  return ClipRecord(
    row.text("id"),
    row.text("dataset", dataset),
    events,
    captions,
    row.text("audio", ""),
    row.text("split", ""),
  )


def _list(row: Row, key: str) -> list:
  """A list that may lack."""
  value = row.values.get(key) or []
  if not isinstance(value, list):
    raise row.error(f"{key} is no list")
  return value


def _text(row: Row, value: Any, what: str) -> str:
  """A text in a list."""
  if not isinstance(value, str) or not value.strip():
    raise row.error(f"{what} is {json.dumps(value)[:60]}, no text")
  return value


def _event(row: Row, value: Any) -> Event:
  """An event of a line."""
  if not isinstance(value, dict):
    raise row.error(f"an event is {json.dumps(value)[:60]}, no object")
  label = _text(row, value.get("label"), "an event's label")
  feature = value.get("feature") or ""
  spans = value.get("spans") or []
  if not isinstance(feature, str) or not isinstance(spans, list):
    raise row.error(f"{label}: feature has to be a text, spans a list")
  made = tuple(_span(row, label, span) for span in spans)
  return Event(label, feature, tuple(sorted(made, key=lambda s: s.onset)))


def _span(row: Row, label: str, value: Any) -> Span:
  """A pair of seconds."""
  numbers = value if isinstance(value, list) else []
  if (
    len(numbers) != 2
    or not all(type(number) in (int, float) for number in numbers)
    or not all(map(math.isfinite, numbers))
    or not 0 <= numbers[0] <= numbers[1]
  ):
    raise row.error(
      f"{label}: a span is {json.dumps(value)[:60]}; it has to be [onset, "
      "offset] in seconds"
    )
  return Span(*numbers)
