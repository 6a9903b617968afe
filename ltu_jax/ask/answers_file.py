"""The file of answers: one line of JSON an item, that a later start goes on in.

A line is written when its item has ended. Of a program that was killed, the
last line may be half there: it is cut off, and its item asked again.
"""

import array
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from typing import BinaryIO

from ltu_jax import json_text
from ltu_jax.ask.errors import AskError
from ltu_jax.ask.items import Item
from ltu_jax.ask.results import Result, as_line

_START = b'{"item": '
"""How every line begins; a file that ends otherwise is not ours to cut."""

_LONGEST_LINE = 1 << 26
"""Bytes of a line at most: an hour of windows has 10 MB."""


class AnswersFile:
  """An answers file, locked while it is open.

  Attributes:
    num_done: Items that had an answer when it was opened.
  """

  def __init__(self, path: str, items: Iterable[Item]):
    """Opens the file, or makes it.

    Lines of items that failed are taken out: those are asked again.

    Args:
      path: The file.
      items: All items, to compare with; gone through if the file has lines.

    Raises:
      AskError: It cannot be written, another program writes to it, or it holds
        something else than answers to these questions.
    """
    self._path, self.num_done = path, 0
    if os.path.exists(path) and not os.path.isfile(path):
      raise AskError(f"{path}: cannot be written: it is no plain file.")
    try:
      self._file = open(path, "a+b")  # noqa: SIM115  until close()
    except OSError as error:
      raise AskError(f"{path}: cannot be written: {error.strerror}.") from error
    try:
      _lock(self._file, path)
      # Of each item the digest of what was asked; 0 without an answer.
      self._done = array.array("Q")
      self._go_on(items)
    except BaseException:
      self._file.close()
      raise

  def __enter__(self) -> "AnswersFile":
    """Itself."""
    return self

  def __exit__(self, *_: object) -> None:
    """Closes it."""
    self.close()

  def is_done(self, item: Item) -> bool:
    """Whether it had an answer when the file was opened."""
    return item.number < len(self._done) and self._done[item.number] != 0

  def add(self, result: Result) -> None:
    """Writes a line.

    Raises:
      AskError: The disk fails or is full.
    """
    try:
      rest = as_line(result.as_json()).encode() + b"\n"
      # Not through the buffer, which would write again when it is closed.
      while rest:
        rest = rest[os.write(self._file.fileno(), rest) :]
    except OSError as error:
      raise AskError(
        f"{self._path}: cannot be written: {error.strerror}; what is there is "
        "kept, and the same command goes on from there."
      ) from error

  def close(self) -> None:
    """Closes the file, and lets others write to it."""
    self._file.close()

  def _go_on(self, items: Iterable[Item]) -> None:
    """Reads what is there, and takes out what has to be done again."""
    self._file.seek(0)
    number, good, failed = 0, 0, []
    while line := self._file.readline(_LONGEST_LINE):
      number += 1
      if not line.endswith(b"\n"):
        if (
          len(line) == _LONGEST_LINE
          or line[: len(_START)] != _START[: len(line)]
        ):
          self._refuse(number, "it is no answer")
        break
      good += len(line)
      if not self._take(number, line):
        failed.append((good - len(line), good))
    if number:
      self._compare(items)
    if failed:
      self._drop(failed, good)
    else:
      self._file.truncate(good)

  def _take(self, number: int, line: bytes) -> bool:
    """Notes a line's item; returns whether it has its answer."""
    try:
      record = json_text.parse(line)
      item, audio = record["item"], record["audio"]
      digest, answered = (
        _digest(audio, record["question"]),
        "error" not in record,
      )
    except (ValueError, TypeError, LookupError):
      self._refuse(number, "it is no answer")
    # Lines come nearly in order: a number far beyond is none of ours.
    if type(item) is not int or not 0 <= item < 1 << 32:
      self._refuse(number, f"item is {str(item)[:40]}")
    if answered:
      missing = item + 1 - len(self._done)
      if missing > 1 << 24:
        self._refuse(number, f"item {item} is of another table")
      self._done.extend([0] * missing)
      self.num_done += self._done[item] == 0
      self._done[item] = digest
    return answered

  def _compare(self, items: Iterable[Item]) -> None:
    """Raises AskError unless all answers are to these items."""
    count = 0
    for item in items:
      count += 1
      if self.is_done(item):
        asked = _digest(item.audio, item.question)
        if self._done[item.number] != asked:
          self._other(item.number)
    if len(self._done) > count:
      self._other(len(self._done) - 1)

  def _drop(self, failed: list[tuple[int, int]], good: int) -> None:
    """Writes the file anew without some parts, and takes its place."""
    path = f"{self._path}.tmp"
    try:
      with open(self._path, "rb") as old:
        new = open(path, "w+b")  # noqa: SIM115  until close()
        start = 0
        for begin, end in [*failed, (good, good)]:
          old.seek(start)
          while rest := begin - old.tell():
            new.write(old.read(min(rest, _LONGEST_LINE)))
          start = end
      new.flush()
      os.fsync(new.fileno())
      new.close()
      # For appending, and locked before it has the name.
      new = open(path, "a+b")  # noqa: SIM115  until close()
      _lock(new, path)
      os.replace(path, self._path)
    except OSError as error:
      raise AskError(f"{path}: cannot be written: {error.strerror}.") from error
    self._file.close()
    self._file = new

  def _refuse(self, line: int, why: str) -> None:
    """Raises AskError for a file that is something else."""
    raise AskError(
      f"{self._path}, line {line}: {why}; the file is left as it is. Give "
      "another name to --out."
    )

  def _other(self, number: int) -> None:
    """Raises AskError for a file of other questions."""
    raise AskError(
      f"{self._path}: holds answers to other questions (item {number} differs);"
      " give another name to --out, or the table that it was made from."
    )


def _lock(file: BinaryIO, path: str) -> None:
  """Keeps others out until the file is closed, also by a kill."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    raise AskError(f"{path}: another program writes to it.") from error
  except OSError:
    pass  # a disk without locks


def _digest(audio: str | None, question: str) -> int:
  """What was asked, in 64 bits; never 0."""
  text = json.dumps([audio, question]).encode()
  return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) | 1
