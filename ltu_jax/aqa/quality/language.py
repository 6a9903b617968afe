"""Tells texts that are not English, by a heuristic.

It sees text in other scripts (Chinese, Cyrillic, Arabic, ...), and texts of
twelve words or more with hardly any of the commonest English words (German,
Spanish, romanised Hindi, ...). It does not see shorter texts in Latin letters,
nor a few foreign words in an English text, and it takes a long bare list of
names for foreign. Of 600 published captions it takes none for foreign.
"""

import functools
import unicodedata

from ltu_jax.aqa.quality.words import words

_MOST_FOREIGN = 0.2
"""Of the letters; names and single signs may be of another script."""

_FEWEST_WORDS = 12
"""Fewer do not tell: `dogs bark, birds chirp` has no common word at all."""

_LEAST_COMMON = 0.05
"""Of the words; in English text it is 0.2 to 0.5."""

# Common in English and rare elsewhere: not `a`, `in`, `is`, `of` or `was`,
# which are words of Spanish, German or Dutch, too.
_COMMON = frozenset(
  words(
    "the and that this these those with without which from there then while"
    " during before after because have has been being be it its to by for they"
    " their what how why can could would might may likely suggests indicates"
    " are were you your not as if when where or sound sounds"
  )
)


def foreign(text: str) -> str | None:
  """Returns why a text does not look English, None if it does."""
  if not text.isascii():
    letters = [letter for letter in text if letter.isalpha()]
    other = sum(not _is_latin(letter) for letter in letters)
    if other > _MOST_FOREIGN * len(letters):
      return "letters that are not Latin"
  found = words(text)
  if len(found) >= _FEWEST_WORDS:
    common = sum(word in _COMMON for word in found)
    if common < _LEAST_COMMON * len(found):
      return "hardly any common English word"
  return None


@functools.lru_cache(10_000)
def _is_latin(letter: str) -> bool:
  """Whether a letter is of the Latin script, with accents or without."""
  # "MICRO SIGN" and "MASCULINE ORDINAL" are letters to Unicode, too.
  return ord(letter) < 0x250 or unicodedata.name(letter, "").startswith("LATIN")
