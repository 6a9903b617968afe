"""How sounds of a label sound: acoustic features, from a table.

A table with tabs has the columns `label` and `feature`, and others if it likes:
`classes.tsv` of openaqa/mini is one. A label may have several lines. Or a JSON
object of labels, with a text or a list of texts each.
"""

import dataclasses
import pathlib
from collections import defaultdict
from collections.abc import Mapping

from ltu_jax import json_text
from ltu_jax.aqa import paraphrases
from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.records import ClipRecord, Event
from ltu_jax.evaluate.sets import tables

Features = Mapping[str, tuple[str, ...]]
"""Features by label in lower case."""


def read(path: pathlib.Path) -> Features:
  """Reads a table; its ending tells which.

  Raises:
    AqaError: It is no such table.
    EvaluateError: A line is damaged; names it.
  """
  made = defaultdict(list)
  if path.suffix.lower() == ".json":
    for label, values in _object(path).items():
      values = [values] if isinstance(values, str) else values
      if not isinstance(values, list) or not all(
        isinstance(value, str) and value.strip() for value in values
      ):
        raise AqaError(
          f"{path}: {label!r} has to have a text, or a list of texts."
        )
      made[label.lower()] += values
  else:
    for row in tables.read_csv(path, ("label", "feature"), tabs=True):
      made[row.text("label").lower()].append(row.text("feature"))
  return {label: tuple(dict.fromkeys(each)) for label, each in made.items()}


def _object(path: pathlib.Path) -> dict:
  """The JSON object of a file."""
  try:
    value = json_text.read(path)
  except OSError as error:
    raise AqaError(f"{path}: cannot be read: {error.strerror}.") from error
  except ValueError as error:
    raise AqaError(f"{path}: no JSON: {error}.") from error
  if not isinstance(value, dict):
    raise AqaError(f"{path}: a JSON object is needed, of labels and features.")
  return value


def apply(clip: ClipRecord, features: Features, seed: int = 0) -> ClipRecord:
  """Returns a record with features for the events that have none.

  Of several features of a label the clip's name chooses.
  """
  if not features or clip.has_features:
    return clip
  events = tuple(
    _apply(event, features, f"{seed}:{clip.id}") for event in clip.events
  )
  return dataclasses.replace(clip, events=events)


def _apply(event: Event, features: Features, key: str) -> Event:
  """An event with a feature, if there is one."""
  found = features.get(event.label.lower())
  if event.feature or not found:
    return event
  if len(found) > 1:
    choice = paraphrases.chooser(key, f"feature of {event.label}")
    return dataclasses.replace(event, feature=choice.choice(found))
  return dataclasses.replace(event, feature=found[0])
