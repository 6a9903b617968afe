"""Splits captions into words as the published evaluation does, without Java.

That evaluation tokenizes with the PTBTokenizer of Stanford CoreNLP 3.4.1 (Penn
Treebank conventions), in lower case, and leaves a list of punctuation out, as
pycocoevalcap does. This is written from what that program does, not from its
source. tests/evaluate/test_captions_tokenizer.py compares the two.

Both agree on captions as people write them, cleaned or not. They differ in:

- Line separators other than a newline (carriage return, form feed, U+2028).
  Java ends a line there and gives all later captions to the wrong clip; here
  they are spaces.
- Java looks into the next line: a single letter with a full stop, or "no.",
  depends on how the next caption starts. Here it does not.
- Letters that Unicode got after version 6 and marks of Indic scripts, which
  Java leaves out: here they are letters. Symbols of rare scripts.
- What looks like a telephone number ("50 1000 1980", "(555) 555-1234"), and
  "1 1/2", which Java joins with no-break spaces.
- Words run together by punctuation without spaces ("50%...yes"), a typographic
  apostrophe in the middle of a longer word, tags with attributes, rare smileys.
"""

import re
import unicodedata

_REMOVED = frozenset(
  ["'", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";"]
)
"""Tokens that pycocoevalcap leaves out. It lists "-LRB-" and such, too, but
looks for them after all was put in lower case: brackets stay."""

_BRACKETS = str.maketrans(
  {
    "(": "-lrb-",
    ")": "-rrb-",
    "[": "-lsb-",
    "]": "-rsb-",
    "{": "-lcb-",
    "}": "-rcb-",
  }
)

_SPLIT = {
  "cannot": "can not",
  "gimme": "gim me",
  "gonna": "gon na",
  "gotta": "got ta",
  "lemme": "lem me",
  "wanna": "wan na",
  "'tis": "'t is",
  "'twas": "'t was",
}
"""Words that are two."""

_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": " "}
"""Of HTML."""

_MEANS = {
  "\x80\u00a4\u20a0\u20ac": "$",
  "\u00a3": "#",
  "\u00a2": "cents",
  "\u00bc": "1/4",
  "\u00bd": "1/2",
  "\u00be": "3/4",
  "\u2153": "1/3",
  "\u2154": "2/3",
  # Quotes, dashes and dots, all of which are left out. What windows-1252 has
  # for them is taken for them.
  "\x85\u2026": "...",
  "\x91\u2018\u201b\u2039\x93\u00ab\u201c\x94\u00bb\u201d": "`",
  "\x96\x97\u2013\u2014\u2015": "--",
}
"""Characters that are written in another way, as a token of their own."""
_MEANING = {char: token for chars, token in _MEANS.items() for char in chars}

_IN_WORDS = ("Nd", "Mn", "Mc")
"""Categories of Unicode that are part of a word, beside letters."""

_ALONE = (
  (0xA1, 0xBF),
  (0xD7, 0xD7),
  (0xF7, 0xF7),
  (0x2016, 0x2023),
  (0x2030, 0x2038),
  (0x203B, 0x203B),
  (0x203E, 0x2044),
  (0x2070, 0x208E),
  (0x20A4, 0x20A4),
  (0x2100, 0x2144),
  (0x214A, 0x214F),
  (0x2155, 0x215E),
  (0x2190, 0x2BFF),
  (0x3001, 0x3002),
  (0x3012, 0x3012),
  (0x30FB, 0x30FB),
  (0xFF01, 0xFF65),
  (0xFFE0, 0xFFE1),
  (0xFFE5, 0xFFE6),
)
"""First and last of characters that are a token each, if they are no letter."""

_ABBREVIATIONS = """
  adj adm adv al ala alex apr ariz assn assoc asst atty aug ave bhd bldg blvd
  brig bros calif capt cf cie cmdr co col colo comdr conn corp cos cpl ct dak
  dec dept det dr drs elec ens esq est etc ext feb fla fri ft ga gen gov govs
  hon inc ind insp intl invt jan jos jr jul jun kan kans ky lieut lt ltd maj
  mar md mfg mich minn mlle mme mo mon mont mr mrs ms msgr mt mtg natl neb nev
  nov oct okla penn pfc ph plc ppte ppty pres prof profs pte ptes pty ptys pvt
  rd rep reps rev rt sen sens sep sept seq sfc sgt spc sq sr st ste supt sys
  tel tenn thu thurs treas tue tues univ va vs vt wed wis wisc wm wyo
"""
"""They keep their full stop."""

_BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"
"""Before a number they do."""

_CAPITALIZED = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"
"""With a capital they do."""

_WITH_APOSTROPHE = """
  ma'am schoolma'am e'er ne'er howe'er whate'er whatsoe'er whene'er where'er
  ta'en nor'easter c'mon s'mores li'l nat'l hallowe'en 'til 'cause 'em
"""
"""Words with an apostrophe that is no sign of two words."""


def _any(words: str) -> str:
  """A pattern that matches one of the words."""
  return "|".join(re.escape(word) for word in words.split())


# A: letter or digit; what `_plain` leaves beyond ASCII is one, too.
_A = r"[^\s!-/:-@\[-`{-~]"
_L = r"[^\s!-@\[-`{-~]"
_END = rf"(?!{_A})"
_TOKEN = re.compile(
  rf"""
    </?[a-z][^\s<>]*>
  | https?://[^\s"<>()]*[^\s"<>().,;:!?'-]
  | (?:\w[\w.+-]*)?@\w(?:[\w.]*\w)? | @
  | \#{_L}[\w]*
  | [:;=][-o]?[()dp]{_END}
  | [!?]{{2,}} | \*+ | -{{2,}} | \.{{2,}}
  | (?:c\+\+|[cf]\#){_END}
  | (?-i:[A-Z]+(?:&[A-Z]+)+){_END}
  | (?:{_any(_ABBREVIATIONS)}|(?-i:{_any(_CAPITALIZED)}))\.{_END}
  | (?:{_any(_BEFORE_NUMBERS)})\.(?=\s*[0-9])
  | ph\.d\. | [a-z](?:\.[a-z])+\.?{_END}
  | [a-z]\.{_END}
  | '(?:tis|twas){_END} | 'n' | ol' | y'(?=all{_END})
  | '(?:s|m|d|re|ve|ll|n){_END}
  | '\d\d s?
  | (?:{_any(_WITH_APOSTROPHE)}){_END}
  | n't{_END}
  | [-+]?\d+(?:[.,:/]\d+)+ | [-+]?\.\d+
  | [odln]'{_L}+(?:-{_A}+)*
  | {_A}+?(?=n't{_END})
  | {_A}+(?:[-_/.]{_A}+)*
  | [-+]\d+
  | \S
  """,
  re.VERBOSE | re.IGNORECASE,
)


def tokenize(caption: str) -> str:
  """Returns a caption's tokens in lower case, with one space between.

  Args:
    caption: Of one or several lines.
  """
  tokens = []
  for found in _TOKEN.finditer(_plain(caption)):
    token = found[0].lower()
    token = _SPLIT.get(token, token).translate(_BRACKETS)
    if token not in _REMOVED and token.strip("-."):
      tokens.append(token)
  return " ".join(tokens)


def _plain(caption: str) -> str:
  """Rewrites what is beyond ASCII: letters stay, the rest is apart or away."""
  for entity, char in _ENTITIES.items():
    caption = caption.replace(entity, f" {char} ")
  return "".join(
    char if char.isascii() and char.isprintable() else _plain_character(char)
    for char in caption.replace("\u2019", "'").replace("\x92", "'")
  )


def _plain_character(char: str) -> str:
  """What one character is written as."""
  code, category = ord(char), unicodedata.category(char)
  if char in _MEANING:
    return f" {_MEANING[char]} "
  if char == "\xad":  # A soft hyphen.
    return ""
  if code <= 0xFFFF and (category[0] == "L" or category in _IN_WORDS):
    return char
  if any(first <= code <= last for first, last in _ALONE):
    return f" {char} "
  return " "
