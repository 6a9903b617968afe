"""Lists of phrases, kept in a text file that people can extend."""

import dataclasses
import functools
import importlib.resources
import os
import pathlib
import re
from collections.abc import Iterable

from ltu_jax.aqa import paraphrases
from ltu_jax.aqa.errors import AqaError
from tfds_builders.openaqa.full.entries import UNANSWERABLE_PHRASES

_SECTIONS = ("unanswerable", "leak")


class PhraseList:
  """Finds the first of some phrases in a text."""

  def __init__(self, phrases: Iterable[str]):
    """Prepares to look for them, in texts that went through `plain`."""
    phrases = {plain(phrase) for phrase in phrases} - {""}
    # The longest first, so that the one that says most is named.
    ordered = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    self._pattern = re.compile("|".join(map(re.escape, ordered)) or r"(?!)")

  def find(self, text: str) -> str | None:
    """Returns a phrase of a text that went through `plain`, None if none."""
    found = self._pattern.search(text)
    return found.group() if found else None


@dataclasses.dataclass(frozen=True)
class Phrases:
  """All lists.

  Attributes:
    unanswerable: Of answers that say that the audio does not tell: those of the
      published filter and ours.
    leak: Of texts that speak of the meta information.
  """

  unanswerable: PhraseList
  leak: PhraseList


def load(own: str | os.PathLike | None = None) -> Phrases:
  """Reads `phrases.txt` and a file of the user's own.

  Args:
    own: More phrases, in the same form; None is none.

  Raises:
    AqaError: It cannot be read or has another form.
  """
  lists = {name: list(_shipped()[name]) for name in _SECTIONS}
  lists["unanswerable"] += UNANSWERABLE_PHRASES
  if own is not None:
    for name, lines in _read(pathlib.Path(own)).items():
      if name not in lists:
        raise AqaError(
          f"{own}: there is no section [{name}]; use {' or '.join(_SECTIONS)}."
        )
      lists[name] += lines
  return Phrases(**{name: PhraseList(lines) for name, lines in lists.items()})


def plain(text: str) -> str:
  """Returns a text in small letters with single spaces and straight quotes."""
  return " ".join(text.lower().replace("\u2019", "'").split())


@functools.cache
def _shipped() -> dict[str, tuple[str, ...]]:
  """The lists of the file that comes along."""
  file = importlib.resources.files("ltu_jax.aqa.quality") / "phrases.txt"
  return paraphrases.parse(file.read_text(encoding="utf-8"))


def _read(path: pathlib.Path) -> dict[str, tuple[str, ...]]:
  """The lists of a user's file."""
  try:
    return paraphrases.parse(path.read_text(encoding="utf-8-sig"))
  except OSError as error:
    raise AqaError(f"{path}: cannot be read: {error.strerror}.") from error
  except UnicodeDecodeError as error:
    raise AqaError(f"{path}: no UTF-8; save it as UTF-8.") from error
  except ValueError as error:
    raise AqaError(f"{path}: {error}.") from error
