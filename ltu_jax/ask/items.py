"""What is asked: questions about sounds, from the arguments or from a table."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

from ltu_jax.ask.clips import find_sounds, read_clip
from ltu_jax.ask.errors import AskError
from ltu_jax.data.prompts import with_input


@dataclasses.dataclass(frozen=True)
class Item:
  """One question about one sound.

  Attributes:
    number: Its place among all, from 0.
    audio: The sound file as it was given; None for a question without sound.
    path: Where that file is.
    question: What is asked.
    input: More text that belongs to the question (OpenAQA's field).
    reference: A right answer, if the table has one.
    read: Returns the sound as the bytes of a sound file, where it is in no file
      of its own; raises ValueError.
  """

  number: int
  audio: str | None
  path: str | None
  question: str
  input: str = ""
  reference: str | None = None
  read: Callable[[], bytes] | None = None

  @property
  def text(self) -> str:
    """The question with its input."""
    return with_input(self.question, self.input)


class ClipItems:
  """The same question about each of some sound files.

  Attributes:
    found: (folder, number of its sound files) of each folder given.
  """

  def __init__(self, paths: Sequence[str], question: str):
    """Looks for the files.

    Args:
      paths: Sound files and folders of them; none asks without sound.
      question: The question.

    Raises:
      AskError: The question is missing, or a folder has no sounds.
    """
    if os.path.exists(question):
      what = "a folder" if os.path.isdir(question) else "a file"
      raise AskError(
        f"the question is missing: the last argument, {question}, is {what}. "
        'For example: ask clip.wav "What can be heard?"'
      )
    if not question.strip():
      raise AskError("the question is empty.")
    self.found: list[tuple[str, int]] = []
    self._question, self._paths = question, []
    for path in paths:
      if os.path.isdir(path):
        sounds = find_sounds(path)
        self.found.append((path, len(sounds)))
        self._paths += sounds
      else:
        self._paths.append(path)
    self._named = [path for path in paths if not os.path.isdir(path)]

  def check_names(self) -> None:
    """Raises AskError for a file that was named and is not there."""
    for path in self._named:
      if not os.path.isfile(path):
        read_clip(path)  # says why

  def __len__(self) -> int:
    """How many there are."""
    return max(1, len(self._paths))

  def __iter__(self) -> Iterator[Item]:
    """All of them, in order."""
    for number, path in enumerate(self._paths or [None]):
      yield Item(number, path, path, self._question)
