"""Sounds and pictures of the items that are shown, within a page's size.

A clip is in the page once, as a data URI, whatever number of checkpoints were
asked about it.
"""

import base64
import dataclasses
import io
import pathlib
from collections.abc import Callable, Iterable, Mapping

import soundfile

from ltu_jax.audio.decode import SAMPLE_RATE, AudioError
from ltu_jax.audio.filter_banks import filter_banks, small_picture
from ltu_jax.audio.heard import Heard, hear
from ltu_jax.evaluate.result import ItemResult

LoadAudio = Callable[[ItemResult], bytes | None]
"""Returns an item's sound as the bytes of a sound file, None if it has none."""

Key = tuple[str, str]
"""Name of a set, id of an item."""

_MARKUP = 1000
"""Bytes around a clip's data, at most."""


@dataclasses.dataclass(frozen=True)
class Clip:
  """A sound that can be heard and seen.

  Attributes:
    audio: MP3 as a data URI, 16 kHz mono, what the model heard.
    picture: JPEG of its filter banks as a data URI.
    seconds: Its length.
    notes: What was done with the file.
  """

  audio: str
  picture: str
  seconds: str
  notes: str


@dataclasses.dataclass(frozen=True)
class Media:
  """What there is of each item.

  Attributes:
    clips: Sounds by set and item.
    reasons: Why there is none, by set and item.
    left_out: Sounds that the page had no room for.
  """

  clips: Mapping[Key, Clip]
  reasons: Mapping[Key, str]
  left_out: int = 0


NONE = Media({}, {})
"""That of a page without sounds."""


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
    What fits, and why the rest is not there.
  """
  clips, reasons, left_out = {}, {}, 0
  for name, item in wanted:
    key = name, item.id
    if key in clips or key in reasons:
      continue
    if room <= 0:
      reasons[key] = "No sound: the page has all that it has room for."
      left_out += 1
      continue
    loaded = _load(item, load_audio)
    if isinstance(loaded, str):
      reasons[key] = loaded
      continue
    size = len(loaded.audio) + len(loaded.picture) + _MARKUP
    if size > room:
      # Nothing smaller later: what is shown is what comes first.
      room = 0
      reasons[key] = "No sound: the page has all that it has room for."
      left_out += 1
      continue
    clips[key] = loaded
    room -= size
  return Media(clips, reasons, left_out)


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
    heard = hear(source, item.audio)
  except AudioError as error:
    return f"No sound: {error}."
  return _clip(heard)


def _clip(heard: Heard) -> Clip:
  """A sound for the page."""
  pcm, file = heard.clip, io.BytesIO()
  # MP3, as that is what every browser plays.
  soundfile.write(
    file, pcm, SAMPLE_RATE, format="MP3", subtype="MPEG_LAYER_III"
  )
  return Clip(
    _data_uri("audio/mpeg", file.getvalue()),
    _data_uri("image/jpeg", small_picture(filter_banks(pcm))),
    f"{len(pcm) / SAMPLE_RATE:.1f}",
    "; ".join(heard.all_notes),
  )


def _data_uri(kind: str, data: bytes) -> str:
  """A file within a page."""
  return f"data:{kind};base64,{base64.b64encode(data).decode()}"
