"""Docstrings as the site shows them; an extension of griffe.

Ours are written for an editor: commands, tables and layouts stand there as they
are, indented or with columns. For Markdown such paragraphs become code.
"""

import re

import griffe

_COLUMNS = re.compile(r"\S {3,}\S")


class Preformatted(griffe.Extension):
  """Indents paragraphs whose lines must stay apart."""

  def on_object(self, *, obj: griffe.Object, **_) -> None:
    """Changes the docstring of an object."""
    if obj.docstring:
      obj.docstring.value = preformatted(obj.docstring.value)


def preformatted(text: str) -> str:
  """Returns a docstring with its layouts indented as Markdown's code."""
  done, in_section = [], False
  for paragraph in text.split("\n\n"):
    lines = paragraph.split("\n")
    # Below "Args:" and the like everything is indented.
    in_section |= re.fullmatch(r"[A-Z][a-z]+:", lines[0]) is not None
    indented = all(line.startswith("  ") for line in lines if line)
    if not in_section and (indented or _COLUMNS.search(paragraph)):
      paragraph = "\n".join(f"    {line}".rstrip() for line in lines)
    done.append(paragraph)
  return "\n\n".join(done)
