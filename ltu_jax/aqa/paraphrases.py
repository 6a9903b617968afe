"""Ways to ask a question, kept in text files that people can extend."""

import functools
import importlib.resources
import os
import pathlib
import random
import string
from collections.abc import Mapping

from ltu_jax.aqa.errors import AqaError

Ways = Mapping[str, tuple[str, ...]]
"""Ways to ask, by section."""

MINI = "paraphrases.txt"
"""The ways of `openaqa/mini`; those of its data would change with the file."""

MANY = "many_paraphrases.txt"
"""More ways to ask closed-ended questions, for sets of one's own."""

_FIELDS = {"temporal_single": {"sound"}, "caption_style": {"style"}}
"""What the lines of some sections of `MANY` name; those of others nothing."""


@functools.cache
def load(name: str = MINI) -> Ways:
  """Reads one of the files in this package.

  Args:
    name: `MINI` or `MANY`.

  Returns:
    The ways to ask, by section. A `#` starts a comment line.

  Raises:
    ValueError: If a question stands before the first section, or a section
      is empty.
  """
  text = (
    importlib.resources.files("ltu_jax.aqa")
    .joinpath(name)
    .read_text(encoding="utf-8")
  )
  return parse(text)


def read(path: str | os.PathLike) -> Ways:
  """Reads a file of one's own; what it does not have is as in `MANY`.

  Args:
    path: A file of the form of `paraphrases.txt`, for closed-ended questions.

  Raises:
    AqaError: It cannot be read, or asks for what there is not.
  """
  try:
    ways = parse(pathlib.Path(path).read_text(encoding="utf-8"))
    many = load(MANY)
    for name, lines in ways.items():
      if name not in many:
        raise ValueError(
          f"there is no section [{name}], only {', '.join(map(str, many))}"
        )
      for line in lines:
        _check_fields(line, _FIELDS.get(name, set()))
  except OSError as error:
    raise AqaError(f"{path}: cannot be read: {error.strerror}.") from error
  except ValueError as error:
    raise AqaError(f"{path}: {error}.") from error
  return {**many, **ways}


def parse(text: str) -> dict[str, tuple[str, ...]]:
  """Parses text of the form of `paraphrases.txt`; see `load`."""
  sections: dict[str, list[str]] = {}
  current = None
  for number, line in enumerate(text.splitlines(), 1):
    line = line.strip()
    if not line or line.startswith("#"):
      continue
    if line.startswith("[") and line.endswith("]"):
      current = sections.setdefault(line[1:-1], [])
    elif current is None:
      raise ValueError(
        f"paraphrases, line {number}: '{line}' stands before any [section]"
      )
    else:
      current.append(line)
  for name, lines in sections.items():
    if not lines:
      raise ValueError(f"paraphrases: section [{name}] has no line")
  return {name: tuple(lines) for name, lines in sections.items()}


def _check_fields(line: str, wanted: set[str]) -> None:
  """Raises ValueError for a line that does not name what it should."""
  try:
    names = {name for _, name, _, _ in string.Formatter().parse(line) if name}
  except ValueError as error:
    raise ValueError(f"{line!r}: {error}") from error
  if names != wanted:
    listed = " ".join(f"{{{name}}}" for name in sorted(wanted)) or "no {name}"
    raise ValueError(f"{line!r} has to hold {listed}")


def chooser(clip_id: str, purpose: str) -> random.Random:
  """Returns the source of choices for a clip: the same for the same names.

  Args:
    clip_id: Name of the clip.
    purpose: What is chosen, so that choices do not depend on each other.
  """
  # A text seeds by its SHA-512: the same in every process and version.
  return random.Random(f"{clip_id}/{purpose}")


def choose(
  clip_id: str,
  section: str,
  count: int = 1,
  *,
  copy: int = 0,
  ways: Ways | None = None,
) -> list[str]:
  """Chooses different ways to ask one question about a clip.

  Args:
    clip_id: Name of the clip.
    section: A section of the file.
    count: How many ways.
    copy: Which time it is that the clip is asked about. Those of lower numbers
      come again only when all ways are used up.
    ways: Ways to ask; None for those of `paraphrases.txt`.

  Returns:
    That many lines of the section; different ones if it has as many.
  """
  lines = (load() if ways is None else ways)[section]
  chosen = chooser(clip_id, section).sample(lines, min(count, len(lines)))
  if not copy and count <= len(lines):
    return chosen
  rest = [line for line in lines if line not in chosen]
  chooser(clip_id, f"{section} again").shuffle(rest)
  chosen += rest
  return [chosen[(copy * count + i) % len(chosen)] for i in range(count)]
