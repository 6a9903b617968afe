"""What a language model is asked about a clip that it cannot hear.

As for OpenAQA: the clip's meta information in one line, and the wish for ten
different questions, with answers, that need thinking step by step, as JSON with
the keys "q" and "a". The words are our own. The form is asked for last: small
models then keep to it.
"""

from typing import Any

PAIRS = 10
"""Questions that are asked for, with their answers."""

_TASK = f"""\
You write questions and answers that teach a machine to listen. You are told \
what is known of one audio clip: its sounds, each with how it sounds and the \
times at which it is heard, as far as these are known, and often a sentence \
about the whole.

Write {PAIRS} open-ended questions about the clip, each of another kind and \
such that it takes thinking step by step to answer, and answer each step by \
step. Ask for example: which sound is heard, and what in it shows that; what \
follows from sounds that are heard together; in which order or for how long \
they are heard, and what that means; where and why the clip may have been \
recorded; whether anything in it is urgent, funny, strange or rare, and why; \
what mood it has; what may come next. The harder and the more varied, the \
better. Write as somebody who has heard the clip and read nothing about it, \
and ask only what the clip can answer."""

_LINES = """\
Write each pair as a JSON object on a line of its own, {"q": "...", "a": \
"..."}, with the question and its answer, and write nothing else."""

_OBJECT = """\
Write one JSON object, {"pairs": [{"q": "...", "a": "..."}]}, with all \
questions and their answers, and write nothing else."""

SCHEMA: dict[str, Any] = {
  "type": "object",
  "properties": {
    "pairs": {
      "type": "array",
      "items": {
        "type": "object",
        "properties": {"q": {"type": "string"}, "a": {"type": "string"}},
        "required": ["q", "a"],
        "additionalProperties": False,
      },
    }
  },
  "required": ["pairs"],
  "additionalProperties": False,
}
"""The reply's, for servers that can hold a model to one."""


def messages(meta_line: str, schema: bool = False) -> list[dict[str, str]]:
  """Returns what is asked about a clip.

  Args:
    meta_line: What is known of it, `ClipRecord.meta_line()`.
    schema: Whether replies are held to SCHEMA; else pairs stand line by line.
  """
  form = _OBJECT if schema else _LINES
  return [
    {"role": "system", "content": _TASK},
    {"role": "user", "content": f"{meta_line}\n\n{form}"},
  ]
