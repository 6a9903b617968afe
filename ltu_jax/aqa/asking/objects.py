"""Objects in what a language model wrote: JSON, or something like it.

Texts come out as JSON says, or Python, where they are written so. Beside that,
keys may lack quotes, quotes may be typographic or stand unescaped in a text,
commas may lack or be too many, and a brace may lack before the next object. One
pass from left to right in linear time; nothing is executed.
"""

import re

BROKEN = "broken"
"""Not to be read as an object, or to be read in several ways."""

CUT = "cut"
"""The text ends before the object does."""

# A quote may be typographic, and closed in another way than it was opened.
_CLOSED = {
  '"': '"',
  "'": "'",
  "\u201c": '\u201d\u201c"',
  "\u201d": '\u201d"',
  "\u2018": "\u2019'",
  "\u2019": "\u2019'",
}
_QUOTES = "".join(_CLOSED)
_WORD = rf"[^{_QUOTES}{{}}\[\]:,\n]{{1,80}}"
_NAME = r"(?:q|question|instruction|a|answer|output)[ _]?\d{0,3}"

# `*+` takes all spaces for good: else a run of them would be tried from each.
_KEY = re.compile(
  rf"\s*+(?:[{_QUOTES}]({_WORD})[{_QUOTES}]|({_NAME}))\s*+:\s*+", re.I
)
"""A key and its colon; known ones also without quotes."""

_END = re.compile(
  r"\s*+(?:\Z"
  r"|(?:,\s*+)?\}"
  rf"|(?:,\s*+)?[{_QUOTES}]{_WORD}[{_QUOTES}]\s*+:"
  rf"|,\s*+{_NAME}\s*+:"
  r"|(?:,\s*+)?(?:\d{1,3}[.)]\s*+)?\{)",
  re.I,
)
"""What follows a quote that ends a text, and no quote within it."""

_BARE = re.compile(r"[^,{}\[\]\n]{1,200}")
"""A number, true, null, or a text without quotes."""

_NEXT = re.compile(r"(?:\d{1,3}[.)]\s*+)?\{")

_SPACES = re.compile(r"\s*+")

_INDENT = 16
"""Spaces after a brace, at most, where the next object is looked for."""

_KNOWN = re.compile(rf"[{_QUOTES}]{_NAME}[{_QUOTES}]\s*+:", re.I)

_STOPS = {
  quote: re.compile(rf"\\.|[{closed}]", re.S)
  for quote, closed in _CLOSED.items()
}

_ESCAPE = re.compile(
  r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})"
  rf"|([bfnrt/\\{_QUOTES}]))"
)

_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}

_SURROGATES = re.compile("([\ud800-\udbff])([\udc00-\udfff])|[\ud800-\udfff]")


class Object:
  """One object.

  Attributes:
    values: Its keys and texts in order, as often as they are there; None for a
      list, a number and the like.
    end: Where it ends, or where to look for the next one: after its start.
    problem: BROKEN or CUT; "" if it is whole.
    is_around: Whether it ended where another object or a list begins in it.
  """

  def __init__(self, text: str, start: int):
    """Reads it.

    Args:
      text: The text.
      start: Where the object's brace is.
    """
    self._text = text
    self.values: list[tuple[str, str | None]] = []
    self.end, self.problem, self.is_around = start + 1, "", False
    while self._read_value() and not self._is_over():
      pass

  def _read_value(self) -> bool:
    """Reads a key and its value; False if that is the end."""
    key = _KEY.match(self._text, self.end)
    if not key:
      return self._stop(_SPACES.match(self._text, self.end).end())
    self.end = key.end()
    name, first = key[1] or key[2], self._text[self.end : self.end + 1]
    if first in ("{", "["):
      self.values.append((name, None))
      self.is_around = True
      return False
    if first in _CLOSED:
      value = self._read_text(first)
      self.values.append((name, value))
      return value is not None
    if bare := _BARE.match(self._text, self.end):
      self.values.append((name, None))
      self.end = bare.end()
      return True
    return self._stop(self.end)

  def _read_text(self, quote: str) -> str | None:
    """Reads a text; None if it does not end."""
    start = self.end + 1
    for stop in _STOPS[quote].finditer(self._text, start):
      at = stop.start()
      if self._text[at] == "\\":
        continue
      if _END.match(self._text, at + 1):
        self.end = at + 1
        return _unescaped(self._text[start:at])
      before = self._text[max(start, at - _INDENT) : at].rstrip()
      if before.endswith("{") and _KNOWN.match(self._text, at):
        self.problem = BROKEN  # its quote lacks: here is the next object
        self.end = self._text.rindex("{", start, at)
        return None
    self.problem, self.end = CUT, len(self._text)
    return None

  def _is_over(self) -> bool:
    """Whether it ends after a value; goes over a comma if not."""
    after = _SPACES.match(self._text, self.end).end()
    if self._text.startswith(",", after):
      self.end = after + 1
      return False
    if _NEXT.match(self._text, after):
      return True
    if after == len(self._text):
      self.end = after
      return True
    return self._text.startswith("}", after) and not self._stop(after)

  def _stop(self, at: int) -> bool:
    """Ends where there is no key or value; returns False."""
    if self._text.startswith("}", at):
      self.end = at + 1
    else:
      self.problem = CUT if at == len(self._text) else BROKEN
      self.end = max(self.end, at)
    return False


def _unescaped(text: str) -> str:
  """What stands between two quotes, as JSON or Python reads it."""
  return _SURROGATES.sub(_joined, _ESCAPE.sub(_character, text))


def _character(escape: re.Match) -> str:
  """What an escape stands for."""
  for digits in escape.groups()[:3]:
    if digits:
      code = int(digits, 16)
      return chr(code) if code < 0x110000 else "\ufffd"
  return _PLAIN.get(escape[4], escape[4])


def _joined(found: re.Match) -> str:
  """Two halves of a character made one; a half alone is none."""
  if not found[1]:
    return "\ufffd"
  return (
    (found[1] + found[2]).encode("utf-16", "surrogatepass").decode("utf-16")
  )
