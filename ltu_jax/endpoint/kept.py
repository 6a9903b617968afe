"""The file of replies: a line of JSON each, that a later start goes on in.

A line is found by its key, a digest of what was asked of whom, so that whoever
asks anew asks only what is new. Of a program that was killed, the last line may
be half there: it is cut off, and asked again. Only the keys are in memory.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO

from ltu_jax import json_text
from ltu_jax.endpoint.errors import EndpointError

_START = b'{"key": "'
"""How every line begins; a file that ends otherwise is not ours to cut."""


def digest(*asked: Any) -> str:
  """Names what is asked of whom, in hexadecimal digits.

  Args:
    asked: All that the reply depends on, as JSON has it.
  """
  text = json.dumps(asked, sort_keys=True).encode()
  return hashlib.blake2b(text, digest_size=16).hexdigest()


class KeptFile:
  """A file of replies, locked while it is open.

  Attributes:
    tokens: How many were sent and written for all that is in it.
  """

  def __init__(self, path: pathlib.Path):
    """Opens the file, or makes it and its folder.

    Raises:
      EndpointError: It cannot be written, another program writes to it, or it
        holds something else.
    """
    self._path = path
    self._at: dict[str, int] = {}
    self.tokens = (0, 0)
    try:
      path.parent.mkdir(parents=True, exist_ok=True)
      self._file = open(path, "a+b")  # noqa: SIM115  until close()
    except OSError as error:
      raise EndpointError(
        f"{path}: cannot be written: {error.strerror}."
      ) from error
    try:
      _lock(self._file, path)
      self._read()
    except BaseException:
      self._file.close()
      raise

  def __enter__(self):
    """Itself."""
    return self

  def __exit__(self, *_: object) -> None:
    """Closes it, and lets others write to it."""
    self._file.close()

  def __contains__(self, key: str) -> bool:
    """Whether there is a reply."""
    return key in self._at

  def __len__(self) -> int:
    """How many replies there are."""
    return len(self._at)

  def line(self, key: str) -> dict[str, Any] | None:
    """What was kept, None if it was not asked."""
    at = self._at.get(key)
    if at is None:
      return None
    self._file.seek(at)
    return json_text.parse(self._file.readline())

  def write(self, key: str, values: Mapping[str, Any]) -> None:
    """Writes a line.

    Args:
      key: The digest of what was asked.
      values: What to keep; "said" is the reply, "tokens" what it took.

    Raises:
      EndpointError: The disk fails or is full.
    """
    start = os.fstat(self._file.fileno()).st_size
    rest = json.dumps({"key": key} | dict(values)).encode() + b"\n"
    try:
      # Not through the buffer, which would write again when it is closed.
      while rest:
        rest = rest[os.write(self._file.fileno(), rest) :]
    except OSError as error:
      # Else the next line would go on in the middle of this one.
      with contextlib.suppress(OSError):
        self._file.truncate(start)
      raise EndpointError(
        f"{self._path}: cannot be written: {error.strerror}; what is there is "
        "kept, and the same command goes on from there."
      ) from error
    self._count(key, start, values)

  def _count(self, key: str, at: int, values: Mapping[str, Any]) -> None:
    """Knows a line."""
    self._at[key] = at
    asked, said = values.get("tokens") or (0, 0)
    self.tokens = (self.tokens[0] + asked, self.tokens[1] + said)

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
        values = json_text.parse(line)
        if not all(isinstance(values[name], str) for name in ("key", "said")):
          self._refuse(number)
        self._count(values["key"], good, values)
      except (ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, EndpointError):
          raise
        self._refuse(number)
      good += len(line)
    self._file.truncate(good)

  def _refuse(self, line: int) -> None:
    """Raises EndpointError for a file that is something else."""
    raise EndpointError(
      f"{self._path}, line {line}: is no kept reply; the file is left as it is."
      " Move it away, or take the line out."
    )


def _lock(file: BinaryIO, path: pathlib.Path) -> None:
  """Keeps others out until the file is closed, also by a kill."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    raise EndpointError(f"{path}: another program writes to it.") from error
  except OSError:
    pass  # a disk without locks
