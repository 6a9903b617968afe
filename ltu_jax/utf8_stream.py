"""Bytes of a JSON file as valid UTF-8, whatever they were.

Files that were edited by hand or joined from several sources mix encodings,
and a JSON parser stops at the first byte that is not UTF-8. Here such a byte
becomes a character that says which byte it was, so that the parser goes on, the
entry that holds it can be counted, and the text be mended. So does an escape of
half a character (one surrogate of two), which programs write that cut texts.
"""

import codecs
import hashlib
import re
from typing import BinaryIO

# Stray bytes 0x80 to 0xFF are U+10F780 to U+10F7FF, in a private plane that no
# text uses; the first of that row is half a character.
_FIRST = 0x10F700
_HALF = chr(_FIRST)
_STRAY = re.compile("[\U0010f700\U0010f780-\U0010f7ff]")

# Of the escapes of JSON: a backslash, a pair of surrogates, one of them alone.
_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
  rf"\\\\|\\u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}"
  rf"|(?P<half>\\u[dD][89a-fA-F]{_HEX}{{2}})"
)
# What the next piece may go on with.
_UNFINISHED = re.compile(
  rf"\\+(?:u{_HEX}{{0,3}}|u[dD][89abAB]{_HEX}{{2}}(?:\\(?:u{_HEX}{{0,3}})?)?)?\Z"
)
_LONGEST_ESCAPE = 12
_HANDLER = "ltu_jax.stray_bytes"

# Marks at the start of a file, the longer ones first.
_MARKS = (
  (codecs.BOM_UTF8, "utf-8"),
  (codecs.BOM_UTF32_LE, "utf-32"),
  (codecs.BOM_UTF32_BE, "utf-32"),
  (codecs.BOM_UTF16_LE, "utf-16"),
  (codecs.BOM_UTF16_BE, "utf-16"),
)


def _keep(error: UnicodeError) -> tuple[str, int]:
  """Replaces what cannot be decoded by characters that stand for its bytes."""
  if not isinstance(error, UnicodeDecodeError):
    raise error
  stray = error.object[error.start : error.end]
  return "".join(chr(_FIRST + byte) for byte in stray), error.end


codecs.register_error(_HANDLER, _keep)


class Utf8Stream:
  """A binary file to read from, made of one in any encoding.

  Attributes:
    strays: Number of stray bytes so far.
    position: Bytes of the file read so far.
    sha256: Of these bytes.
  """

  def __init__(self, file: BinaryIO):
    """Looks at the first bytes.

    Args:
      file: The file, at its start. UTF-8 with or without a mark, or UTF-16 or
        UTF-32 with one.
    """
    self._file = file
    self.strays = self.position = 0
    self.sha256 = hashlib.sha256()
    start = file.read(4)
    self.sha256.update(start)
    self.position = len(start)
    self._encoding = "utf-8"
    for mark, encoding in _MARKS:
      if start.startswith(mark):
        self._encoding = encoding
        start = start.removeprefix(mark) if encoding == "utf-8" else start
        break
    make = codecs.getincrementaldecoder(self._encoding)
    errors = _HANDLER if self._encoding == "utf-8" else "replace"
    self._decoder = make(errors=errors)
    self._start = start
    self._held = ""  # The start of an escape that the next piece goes on with.

  def read(self, size: int = -1) -> bytes:
    """Returns about `size` bytes of UTF-8; none at the end of the file."""
    if size == 0:  # How ijson asks whether this is binary.
      return b""
    while True:
      read = self._file.read(size)
      self.sha256.update(read)
      self.position += len(read)
      raw, self._start = self._start + read, b""
      text = self._decoder.decode(raw, final=not raw)
      text = self._without_halves(text, is_last=not raw)
      self.strays += len(_STRAY.findall(text))
      # A piece of a character alone gives no text yet.
      if text or not raw:
        return text.encode("utf-8")

  def _without_halves(self, text: str, is_last: bool) -> str:
    """Replaces escapes of half a character, which no parser can give."""
    text, self._held = self._held + text, ""
    # Both searches look at every backslash, and are seldom needed.
    if not is_last and "\\" in text[-_LONGEST_ESCAPE:]:
      unfinished = _UNFINISHED.search(text)
      if unfinished:
        self._held = unfinished.group()
        text = text[: unfinished.start()]
    if r"\ud" in text or r"\uD" in text:
      text = _ESCAPE.sub(lambda m: _HALF if m["half"] else m.group(), text)
    return text


def has_stray(text: str) -> bool:
  """Whether a text holds what was no UTF-8, or half a character."""
  return _STRAY.search(text) is not None


def mend(text: str) -> str:
  """Reads stray bytes as Windows-1252, from which they come nearly always.

  Half a character becomes U+FFFD, the sign for one that is lost.
  """

  def one(match: re.Match) -> str:
    if match.group() == _HALF:
      return "\ufffd"
    byte = bytes([ord(match.group()) - _FIRST])
    return byte.decode("cp1252", errors="replace")

  return _STRAY.sub(one, text)
