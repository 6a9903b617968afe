"""Sounds for the page that are in no file of their own: openaqa/mini's."""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ltu_jax.data.question_source import QuestionSource, RecordError
from ltu_jax.evaluate import result
from ltu_jax.evaluate.result import ItemResult
from ltu_jax.evaluate.sets import mini

_NAME = "openaqa/mini"


def load_audio(
  folders: Sequence[pathlib.Path], data_dir: str
) -> Callable[[ItemResult], bytes | None]:
  """Returns what finds the sound of an item of openaqa/mini.

  Args:
    folders: Of results; their runs' configs say where the data set is.
    data_dir: TFDS's folder; "" for those of the configs, and TFDS's default.
  """
  places = [data_dir] if data_dir else [*_places(folders), ""]

  @functools.cache
  def clips() -> Mapping[str, tuple[QuestionSource, int]]:
    found = {}
    for place in places:
      try:
        source = QuestionSource.open(_NAME, "test", place or None)
      except (FileNotFoundError, ValueError):
        continue
      for clip in range(len(source.clips)):
        name = source.record(clip)["id"].decode()
        found.setdefault(name, (source, clip))
      break
    return found

  def load(item: ItemResult) -> bytes | None:
    try:
      source, clip = clips()[item.id]
      return source.record(clip)["audio"]
    except (KeyError, RecordError):
      return None

  return load


def _places(folders: Sequence[pathlib.Path]) -> list[str]:
  """TFDS's folders that the results' runs name."""
  places = []
  for folder in folders:
    for name in mini.NAMES:
      path = folder / f"{name}.json"
      if path.exists():
        data: Mapping[str, Any] = result.read(path).config.get("data") or {}
        places.append(data.get("dir") or "")
  return [place for place in dict.fromkeys(places) if place]
