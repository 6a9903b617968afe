"""Sounds and their pictures as data URIs, within a page's size."""

import base64
import dataclasses
import io
from collections.abc import Callable, Hashable, Iterable, Mapping

import soundfile

from ltu_jax.audio.decode import SAMPLE_RATE
from ltu_jax.audio.filter_banks import filter_banks, small_picture
from ltu_jax.audio.heard import Heard

_MARKUP = 1000
"""Bytes around a clip's data, at most."""

_FULL = "No sound: the page has all that it has room for."


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
    clips: Sounds by key.
    reasons: Why there is none, by key.
    left_out: Sounds that the page had no room for.
  """

  clips: Mapping[Hashable, Clip]
  reasons: Mapping[Hashable, str]
  left_out: int = 0


NONE = Media({}, {})
"""That of a page without sounds."""


def collect(
  wanted: Iterable[tuple[Hashable, Callable[[], Clip | str]]], room: int
) -> Media:
  """Loads sounds until the page is full.

  Args:
    wanted: Keys, each with what loads its clip or tells why there is none; the
      most important ones first. Of one key only the first is loaded.
    room: Bytes of the page that there are for them.

  Returns:
    What fits, and why the rest is not there.
  """
  clips, reasons, left_out = {}, {}, 0
  for key, load in wanted:
    if key in clips or key in reasons:
      continue
    if room <= 0:
      reasons[key] = _FULL
      left_out += 1
      continue
    loaded = load()
    if isinstance(loaded, str):
      reasons[key] = loaded
      continue
    size = len(loaded.audio) + len(loaded.picture) + _MARKUP
    if size > room:
      # Nothing smaller later: what is shown is what comes first.
      room = 0
      reasons[key] = _FULL
      left_out += 1
      continue
    clips[key] = loaded
    room -= size
  return Media(clips, reasons, left_out)


def make_clip(heard: Heard) -> Clip:
  """A sound for a page."""
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
