"""WORKDIR/metrics.jsonl: one line a step, none missing, none twice.

What a killed run left half written is taken off, lines of steps that will be
made again are dropped, and what does not fit on a full disk waits in memory.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from ltu_jax import json_text


class MetricsError(ValueError):
  """A metric that is no number, or a metrics file that cannot be read."""


class MetricsFile:
  """The file, open for writing by one process."""

  def __init__(self, path: str | os.PathLike):
    """Opens the file or makes it; a torn last line is taken off.

    Raises:
      MetricsError: It is there but is not ours, or cannot be written.
    """
    self._path = pathlib.Path(path)
    self._pending = b""
    self._lines = [
      ((values["stage"], values["step"]), text)
      for values, text in read(self._path)
    ]
    try:
      self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666)
      os.ftruncate(self._file, sum(len(text) for _, text in self._lines))
    except OSError as error:
      raise MetricsError(
        f"{self._path}: cannot be written ({error.strerror})"
      ) from error
    self._end = os.fstat(self._file).st_size

  def drop_later(self, stage: int, step: int) -> None:
    """Drops the lines of a stage after a step, which will be made again.

    What stays is put in order: a stage may be gone on with after later ones
    have ended, where its last checkpoint was damaged.

    Raises:
      MetricsError: The file cannot be written again.
    """
    kept = [
      (place, text)
      for place, text in self._lines
      if place[0] != stage or place[1] <= step
    ]
    kept.sort(key=lambda line: line[0])
    if kept == self._lines and not self._pending:
      return
    fresh = self._path.with_suffix(".tmp")
    try:
      fresh.write_bytes(b"".join(text for _, text in kept))
      fresh.replace(self._path)
    except OSError as error:
      raise MetricsError(
        f"{self._path}: cannot be written ({error.strerror})"
      ) from error
    os.close(self._file)
    self._lines, self._pending = kept, b""
    self._file = os.open(self._path, os.O_WRONLY)
    self._end = os.fstat(self._file).st_size

  def append(self, line: Mapping[str, Any]) -> str:
    """Adds a line, at once on the file system where it has room.

    Args:
      line: JSON values, with "stage" and "step".

    Returns:
      As `flush`.
    """
    text = (json.dumps(line, allow_nan=False) + "\n").encode()
    self._lines.append(((line["stage"], line["step"]), text))
    self._pending += text
    return self.flush()

  def flush(self, sync: bool = False) -> str:
    """Writes what waits.

    Args:
      sync: Whether to wait until it is on the disk.

    Returns:
      Why not all is written; "" if it is.
    """
    try:
      while self._pending:
        done = os.pwrite(self._file, self._pending, self._end)
        self._end += done
        self._pending = self._pending[done:]
      if sync:
        os.fsync(self._file)
    except OSError as error:
      return f"{self._path}: {error.strerror}"
    return ""

  def close(self) -> str:
    """Writes what waits and closes; returns as `flush`.

    Where a stage was gone on with after later ones, lines are put in order.
    """
    problem = self.flush()
    places = [place for place, _ in self._lines]
    if not problem and places != sorted(places):
      with contextlib.suppress(MetricsError):  # the lines are there, unordered
        self.drop_later(-1, 0)
    os.close(self._file)
    return problem


def read(path: str | os.PathLike) -> list[tuple[dict[str, Any], bytes]]:
  """Reads all whole lines; a killed run may have left a part of its last.

  Returns:
    The values of each line, and its text; nothing if there is no such file.

  Raises:
    MetricsError: A line that `MetricsFile` does not write.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return []
  found = []
  for number, text in enumerate(path.read_bytes().splitlines(keepends=True), 1):
    if not text.endswith(b"\n"):
      break
    try:
      found.append((_values(text), text))
    except ValueError as error:
      raise MetricsError(
        f"{path}: line {number} is no metrics line: {error}. Take it out, or"
        " move this file away."
      ) from error
  return found


def _values(text: bytes) -> dict[str, Any]:
  """The values of a line; raises ValueError for what is none."""
  values = json_text.parse(text)
  if not isinstance(values, dict):
    raise ValueError("it is no JSON object")
  for key in ("stage", "step"):
    if not _is_whole(values.get(key)):
      raise ValueError(f"{key} is no number of a {key}")
  for key in ("loss", "lr"):
    value = values.get(key)
    if type(value) not in (float, type(None)) and not _is_whole(value):
      raise ValueError(f"{key} is no number")
  return values


def _is_whole(value: object) -> bool:
  """Whether it is an integer that numpy holds, 0 or more."""
  return type(value) is int and 0 <= value < 1 << 63
