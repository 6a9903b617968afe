"""Ways to ask a question, kept in a text file that people can extend."""

import functools
import importlib.resources
import random


@functools.cache
def load() -> dict[str, tuple[str, ...]]:
  """Reads `paraphrases.txt`.

  Returns:
    The ways to ask, by section. A `#` starts a comment line.

  Raises:
    ValueError: If a question stands before the first section, or a section
      is empty.
  """
  text = (
    importlib.resources.files("ltu_jax.aqa")
    .joinpath("paraphrases.txt")
    .read_text(encoding="utf-8")
  )
  return parse(text)


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


def chooser(clip_id: str, purpose: str) -> random.Random:
  """Returns the source of choices for a clip: the same for the same names.

  Args:
    clip_id: Name of the clip.
    purpose: What is chosen, so that choices do not depend on each other.
  """
  # A text seeds by its SHA-512: the same in every process and version.
  return random.Random(f"{clip_id}/{purpose}")


def choose(clip_id: str, section: str, count: int = 1) -> list[str]:
  """Chooses different ways to ask one question about a clip.

  Args:
    clip_id: Name of the clip.
    section: A section of the file.
    count: How many ways; no more than the section has.

  Returns:
    That many lines of the section.
  """
  return chooser(clip_id, section).sample(load()[section], count)
