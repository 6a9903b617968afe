"""Texts from elsewhere in Markdown."""

import re

_SIGNS = re.compile(r"([\\`*_{}\[\]<>|~#&!$])")


def plain(text: str) -> str:
  """A text that Markdown shows as it is, on one line."""
  # A half of a character, of a file name, cannot be written.
  text = text.encode("utf-8", "replace").decode()
  return _SIGNS.sub(r"\\\1", " ".join(text.split()))
