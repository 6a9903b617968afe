"""The items of one long JSON list, one at a time, in bounded memory.

`ijson.items` would do but for one thing: it keeps the way to each value as a
text, so that 100 kB of opening brackets take 12 GB.
"""

from collections.abc import Iterator

import ijson

from ltu_jax.utf8_stream import Utf8Stream

MAX_BYTES = 4 << 20
"""Bytes of an item at most; a piece more may be read. Published ones have 1 kB.

What Python makes of an item takes up to a hundred times as much.
"""

_PIECE = 1 << 20


class ItemError(ValueError):
  """No valid JSON, or an item that is too long; says why."""


class NoListError(ItemError):
  """An object without the list that was asked for."""


class TooLongError(ItemError):
  """An item that is too long."""


def read(stream: Utf8Stream, under: str = "") -> Iterator[object]:
  """Yields the items of the list.

  Args:
    stream: The text, at its start; it begins with a list, or with an object.
    under: Key of the list in the object; empty if the text is the list.

  Raises:
    ItemError: If it is no JSON or ends early, or an item is too long.
    NoListError: If the object has no such list.
  """
  limited = _Limited(stream)
  # The containers that are open, and for each the key that comes next.
  open_: list[list | dict] = []
  keys: list[str] = []
  level = 2 if under else 1
  found = not under
  try:
    for event, value in ijson.basic_parse(
      limited, buf_size=_PIECE, use_float=True
    ):
      if event == "map_key":
        keys[-1] = value
        continue
      if event in ("end_map", "end_array"):
        value = open_.pop()
        keys.pop()
      elif event in ("start_map", "start_array"):
        value = {} if event == "start_map" else []
        open_.append(value)
        keys.append("")
        found = found or _is_list_under(open_, keys, under)
        continue
      if len(open_) == level and (
        not under or _is_list_under(open_, keys, under)
      ):
        limited.start = stream.position
        yield value
      elif open_:
        _put(open_[-1], keys[-1], value)
  except ijson.JSONError as error:
    raise ItemError(_reason(error)) from error
  if not found:
    raise NoListError(f"there is no list under {under!r}")


def _is_list_under(
  open_: list[list | dict], keys: list[str], under: str
) -> bool:
  """Whether the list that is open is the one of the outermost object's key."""
  return (
    len(open_) == 2
    and isinstance(open_[0], dict)
    and keys[0] == under
    and isinstance(open_[1], list)
  )


def _put(container: list | dict, key: str, value: object) -> None:
  """Adds a value to what it is in."""
  if isinstance(container, dict):
    container[key] = value
  else:
    container.append(value)


class _Limited:
  """Stops an item that is too long.

  Attributes:
    start: Bytes of the file before the present item, or somewhat less.
  """

  def __init__(self, stream: Utf8Stream):
    self._stream = stream
    self.start = 0

  def read(self, size: int) -> bytes:
    """As the stream's.

    Raises:
      TooLongError: If the present item is.
    """
    if self._stream.position - self.start > MAX_BYTES:
      raise TooLongError(
        f"an entry has over {MAX_BYTES >> 20} MB; take it out of the file"
      )
    return self._stream.read(size)


def _reason(error: ijson.JSONError) -> str:
  """The parser's own words on one line."""
  argument = error.args[0] if error.args else ""
  if isinstance(argument, bytes):
    argument = argument.decode("utf-8", errors="replace")
  return " ".join(str(argument).replace("(right here) ------^", "").split())
