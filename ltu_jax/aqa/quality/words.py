"""Words of a text, as all of the gates and statistics count them."""

import re

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def words(text: str) -> list[str]:
  """Returns the words in small letters: runs of letters and digits.

  An apostrophe within a word is a part of it. Scripts without spaces give one
  word a run.
  """
  return _WORD.findall(text.casefold())
