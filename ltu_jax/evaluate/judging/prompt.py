"""What a judge is asked, and what its words mean.

The paper has a language model say whether a response answers its question, yes
or no; the share of yes is the instruction following rate. Neither its published
code nor any source at hand has the words in which that was asked, nor the exact
model: these here are our own. Rates by different words or judges are not to be
compared.
"""

import re

from ltu_jax.endpoint import thoughts

YES, NO, UNCLEAR = "yes", "no", "unclear"
"""Verdicts; what is neither yes nor no counts as no, and is counted apart."""

SOURCE = "ours; the paper's words are not published with its code"
"""Whose words PROMPT has, for results."""

PROMPT = """\
Here are a question about a sound and a response to it. You cannot hear the \
sound, so do not mind whether the response is true. Does the response answer \
what the question asks?

<question>
{question}
</question>

<response>
{response}
</response>

Does the response answer the question? Say one word: yes or no."""
"""The whole message to the judge."""

_WORD = r"(yes|no)(?![^\W_])"

_FIRST = re.compile(rf"[\W_]*{_WORD}", re.I)

_BOTH = re.compile(rf"[\W_]*{_WORD}[\W_]*(?:(?:or|and)\b[\W_]*)?{_WORD}", re.I)
"""`yes or no`, `yes/no`, `Yes and no`."""

_NO_VERDICT = re.compile(r"[\W_]*no (?:doubt|question|idea)\b", re.I)

_STATED = re.compile(
  r"\b(?:answer|verdict|judge?ment|conclusion|decision|result)\b[\W_]*"
  rf"(?:is\b[\W_]*|would be\b[\W_]*)?(?<![^\W_]){_WORD}(?! \w)",
  re.I,
)
"""`The answer is yes.`, `Verdict: **No**`, `{"answer": "yes"}`."""

_LAST = re.compile(rf"(?:[.:!?]\s+|\n)[\W_]*{_WORD}[\W_]*$", re.I)
"""A last sentence of that one word."""

_LONGEST = 2000
"""Characters that are read; of a longer text half are of its end."""


def message(question: str, response: str) -> str:
  """Returns what the judge is asked about one response."""
  return PROMPT.format(question=question.strip(), response=response.strip())


def read(said: str) -> str:
  """Reads a verdict.

  Args:
    said: The judge's words.

  Returns:
    YES or NO where they begin with that, or state one of the two further on;
    UNCLEAR where they do neither, or both.
  """
  text = thoughts.without(said)
  if len(text) > _LONGEST:
    text = text[: _LONGEST // 2] + text[-_LONGEST // 2 :]
  if first := _FIRST.match(text):
    both = _BOTH.match(text)
    if both and both[1].lower() != both[2].lower():
      return UNCLEAR
    return UNCLEAR if _NO_VERDICT.match(text) else first[1].lower()
  stated = [match.lower() for match in _STATED.findall(text)]
  stated += [match.lower() for match in _LAST.findall(text)]
  return stated[0] if len(set(stated)) == 1 else UNCLEAR


def is_cut(said: str) -> bool:
  """Whether a judge was cut off before it said anything but thoughts."""
  return not thoughts.without(said).strip()
