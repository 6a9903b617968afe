"""How a label sounds, in a few words: what is asked, and what replies mean."""

import re

from ltu_jax.endpoint import thoughts

_PROMPT = """\
How does this sound: {label}?

Describe its acoustic features, such as pitch, loudness, timbre, rhythm or \
texture, in one short phrase of two to six words that does not name what makes \
it, as in "Loud and metallic" or "High-pitched, short and sharp". Write the \
phrase alone."""

_MOST_WORDS = 12

_LONGEST = 80
"""Characters of a phrase, at most. OpenAQA's have up to 70."""

_LEAD = re.compile(
  r"(?:acoustic )?(?:features?|phrase|description|answer)\s*:\s*", re.I
)

_FENCE = re.compile(r"```\w*")

_MARKS = " \t*_`-"
"""Around a phrase: spaces, emphasis, a list's mark."""

_QUOTES = "\"'\u201c\u201d\u2018\u2019"

_STRANGE = re.compile(r"[^\w\s,'\"\u2019&/-]|_|\d{3}")
"""What no phrase has, and what would break the forms that it is put into:
`Sound of A (phrase): [0.0s-1.0s]; ...` and `phrase -> A; ...`."""

_REFUSAL = re.compile(
  r"\b(?:i|i'm|sorry|cannot|can't|unable|unknown|model|ai|please|sure|is|are)\b",
  re.I,
)
"""In sentences, not in phrases."""


def messages(label: str) -> list[dict[str, str]]:
  """Returns what is asked about a label."""
  return [{"role": "user", "content": _PROMPT.format(label=label)}]


def read(reply: str, label: str) -> str | None:
  """Reads a phrase.

  Args:
    reply: What the model said.
    label: What it was asked about; no phrase says that alone.

  Returns:
    The phrase, with a capital and no full stop; None if it is none.
  """
  text = _FENCE.sub("", thoughts.without(reply))
  lines = [line for line in map(_bare, text.splitlines()) if line]
  if len(lines) != 1:
    return None
  found = _LEAD.match(lines[0])
  phrase = " ".join(_bare(lines[0][found.end() if found else 0 :]).split())
  words = phrase.split()
  if not 0 < len(phrase) <= _LONGEST or len(words) > _MOST_WORDS:
    return None
  if _STRANGE.search(phrase) or _REFUSAL.search(phrase):
    return None
  if not phrase[0].isalpha() or phrase.lower() == label.lower():
    return None
  return phrase[0].upper() + phrase[1:]


def _bare(line: str) -> str:
  """A line without marks and quotes around it, and without a full stop."""
  line = line.strip(_MARKS).rstrip(".")
  if len(line) > 1 and line[0] in _QUOTES and line[-1] in _QUOTES:
    line = line[1:-1].rstrip(".")
  return line.strip(_MARKS)
