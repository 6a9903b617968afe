"""Sounds and pictures of the items that are shown, within the page's size.

A clip is in the page once, whatever number of checkpoints were asked about it.
"""

import functools
import pathlib
from collections.abc import Callable, Iterable

from ltu_jax.audio.decode import AudioError
from ltu_jax.audio.heard import hear
from ltu_jax.evaluate.result import ItemResult
from ltu_jax.page import media
from ltu_jax.page.media import NONE, Clip, Media

__all__ = ["NONE", "Clip", "Key", "LoadAudio", "Media", "collect"]

LoadAudio = Callable[[ItemResult], bytes | None]
"""Returns an item's sound as the bytes of a sound file, None if it has none."""

Key = tuple[str, str]
"""Name of a set, id of an item."""


def collect(
  wanted: Iterable[tuple[str, ItemResult]],
  room: int,
  load_audio: LoadAudio | None,
) -> Media:
  """Loads sounds until the page is full.

  Args:
    wanted: Sets and items, the most important ones first.
    room: Bytes of the page that there are for them.
    load_audio: See report.report.

  Returns:
    What fits, and why the rest is not there, by `Key`.
  """
  return media.collect(
    (
      ((name, item.id), functools.partial(_load, item, load_audio))
      for name, item in wanted
    ),
    room,
  )


def _load(item: ItemResult, load_audio: LoadAudio | None) -> Clip | str:
  """An item's sound, or why there is none."""
  path = pathlib.Path(item.path) if item.path else None
  source = path if path and path.exists() else None
  if source is None and load_audio:
    source = load_audio(item)
  if source is None:
    return (
      "No sound: the file is no longer where it was."
      if path
      else "No sound: it is in no file of its own."
    )
  try:
    return media.make_clip(hear(source, item.audio))
  except AudioError as error:
    return f"No sound: {error}."
