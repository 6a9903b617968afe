"""The records of `openaqa/mini`: scenes of real recordings, and questions."""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ltu_jax.aqa import closed_ended, open_ended, records
from tfds_builders.openaqa import flac, scenes, sounds

# Scenes are made in threads (NumPy, soxr and FLAC run without the GIL); this
# many at once bounds the memory that waits to be written.
_SCENES_AT_ONCE = 64


def examples(
  bank: sounds.Bank, split: str, recipe: Mapping[str, Any]
) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields numbered records in order.

  Args:
    bank: The recordings.
    split: `train` or `test`.
    recipe: `num_train` or `num_test` scenes, and the `seed`.
  """
  total = recipe[f"num_{split}"]
  with concurrent.futures.ThreadPoolExecutor() as pool:
    for start in range(0, total, _SCENES_AT_ONCE):
      numbers = range(start, min(start + _SCENES_AT_ONCE, total))
      made = pool.map(
        lambda number: make_example(bank, split, number, recipe["seed"]),
        numbers,
      )
      yield from zip(numbers, made, strict=True)


def make_example(
  bank: sounds.Bank, split: str, number: int, seed: int
) -> dict[str, Any]:
  """Makes one record of `mini`: a scene and the questions about it.

  Args:
    bank: The recordings.
    split: `train` or `test`.
    number: Number of the scene in its split.
    seed: Seed of the data set.

  Returns:
    The record, in the form of the builder's features.
  """
  pcm, placed = scenes.make(bank, split, number, seed)
  events = tuple(
    records.Event(
      event.label,
      bank.features[event.label],
      (records.Span(event.onset, event.offset),),
    )
    for event in placed
  )
  clip = records.ClipRecord(
    id=f"mini-{split}-{number:05d}",
    dataset="mini",
    events=events,
    captions=(records.describe(events, bank.facts),),
    split=split,
  )
  questions = closed_ended.make(clip) + open_ended.make(clip, bank.facts)
  return {
    "id": clip.id,
    "audio": flac.encode(pcm),
    "questions": [dataclasses.asdict(question) for question in questions],
    "events": [
      dataclasses.asdict(event) | {"feature": bank.features[event.label]}
      for event in placed
    ],
    "caption": clip.caption,
  }


def summary(bank: sounds.Bank) -> dict[str, dict[str, list[str]]]:
  """Lists the names of the recordings by split and class."""
  names = collections.defaultdict(lambda: collections.defaultdict(list))
  for recording in bank.recordings:
    names[recording.split][recording.label].append(recording.name)
  return {split: dict(classes) for split, classes in names.items()}
