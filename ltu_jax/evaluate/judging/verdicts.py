"""The file of verdicts: a line of JSON each, that a later start goes on in.

A verdict is found by what was asked of whom, so that whoever asks anew asks
only what is new. Of a program that was killed, the last line may be half there:
it is cut off, and asked again.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO

from ltu_jax import json_text
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.judging import prompt

_START = b'{"key": "'
"""How every line begins; a file that ends otherwise is not ours to cut."""


@dataclasses.dataclass(frozen=True)
class Said:
  """What a judge said.

  Attributes:
    text: Its words.
    tokens: How many were asked, and how many it said, by its server's count.
    options: How it was asked: temperature and more.
  """

  text: str
  tokens: tuple[int, int]
  options: Mapping[str, Any]


def digest(model: str, question: str, response: str) -> str:
  """Names what is asked of whom, in hexadecimal digits."""
  text = json.dumps([model, prompt.PROMPT, question, response]).encode()
  return hashlib.blake2b(text, digest_size=16).hexdigest()


class VerdictsFile:
  """A file of verdicts, locked while it is open."""

  def __init__(self, path: pathlib.Path):
    """Opens the file, or makes it and its folder.

    Raises:
      EvaluateError: It cannot be written, another program writes to it, or it
        holds something else.
    """
    self._path = path
    self._said: dict[str, str] = {}
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      self._file = open(path, "a+b")  # noqa: SIM115
    except OSError as error:
      raise EvaluateError(
        f"{path}: cannot be written: {error.strerror}."
      ) from error
    try:
      _lock(self._file, path)
      self._read()
    except BaseException:
      self._file.close()
      raise

  def __enter__(self) -> "VerdictsFile":
    """Itself."""
    return self

  def __exit__(self, *_: object) -> None:
    """Closes it, and lets others write to it."""
    self._file.close()

  def get(self, key: str) -> str | None:
    """What the judge said, None if it was not asked."""
    return self._said.get(key)

  def add(
    self, key: str, model: str, question: str, response: str, said: Said
  ) -> None:
    """Writes a line.

    Args:
      key: The digest of the next three.
      model: Who was asked.
      question: About which question.
      response: About which response.
      said: What it said.

    Raises:
      EvaluateError: The disk fails or is full.
    """
    record = {
      "key": key,
      "model": model,
      "verdict": prompt.read(said.text),
      "said": said.text,
      "question": question,
      "response": response,
      "tokens": said.tokens,
      "options": said.options,
    }
    rest = json.dumps(record).encode() + b"\n"
    try:
      # Not through the buffer, which would write again when it is closed.
      while rest:
        rest = rest[os.write(self._file.fileno(), rest) :]
    except OSError as error:
      raise EvaluateError(
        f"{self._path}: cannot be written: {error.strerror}; what is there is "
        "kept, and the same command goes on from there."
      ) from error
    self._said[key] = said.text

  def _read(self) -> None:
    """Reads what is there, and cuts off a line that is half there."""
    self._file.seek(0)
    good = 0
    for number, line in enumerate(self._file, 1):
      if not line.endswith(b"\n"):
        if line[: len(_START)] != _START[: len(line)]:
          self._refuse(number)
        break
      try:
        record = json_text.parse(line)
        key, text = record["key"], record["said"]
      except (ValueError, TypeError, LookupError):
        self._refuse(number)
      if not isinstance(key, str) or not isinstance(text, str):
        self._refuse(number)
      self._said[key] = text
      good += len(line)
    self._file.truncate(good)

  def _refuse(self, line: int) -> None:
    """Raises EvaluateError for a file that is something else."""
    raise EvaluateError(
      f"{self._path}, line {line}: is no verdict; the file is left as it is. "
      "Move it away, or take the line out."
    )


def _lock(file: BinaryIO, path: pathlib.Path) -> None:
  """Keeps others out until the file is closed, also by a kill."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    raise EvaluateError(f"{path}: another program writes to it.") from error
  except OSError:
    pass  # a disk without locks
