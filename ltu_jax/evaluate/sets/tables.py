"""Metadata of sets: rows of CSV and JSON files, with where each one is.

These are other people's files: what is wrong with one is told with the line.
"""

import csv
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ltu_jax import json_items, json_text, utf8_stream
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets.label_list import LabelList


class Row:
  """A row and the place that it is from."""

  def __init__(self, values: Any, where: str):
    """Wraps a row.

    Args:
      values: A mapping, of a CSV file with a header or a JSON list; or a list.
      where: File and line, for errors.
    """
    self.values, self.where = values, where

  def text(self, key: str | int, default: str | None = None) -> str:
    """A cell that has to be text.

    Args:
      key: Name or number of the column.
      default: What stands for a missing or null cell, or one of no characters;
        None if it must be there.

    Raises:
      EvaluateError: It is missing, empty or no text.
    """
    column = f"column {key + 1}" if isinstance(key, int) else key
    value = self._cell(key)
    if value is None or (isinstance(value, str) and not value.strip()):
      if default is None:
        raise self.error(f"{column} is missing or empty")
      return default
    if not isinstance(value, str):
      raise self.error(f"{column} is {type(value).__name__}, not text")
    if utf8_stream.has_stray(value):
      raise self.error(f"{column} is no UTF-8; save the file as UTF-8")
    return value

  def number(self, key: str | int) -> float:
    """A cell that has to be a number, of 0 or more.

    Raises:
      EvaluateError: It is none.
    """
    text = self.text(key)
    try:
      value = float(text)
    except ValueError as error:
      raise self.error(f"{text[:40]!r} is no number") from error
    if not 0 <= value < 1e9:
      raise self.error(f"{text[:40]} is no time in seconds")
    return value

  def label(self, labels: LabelList, name: str) -> str:
    """The label that the owners call so.

    Raises:
      EvaluateError: It is not in the list.
    """
    try:
      return labels.by_name(name)
    except ValueError as error:
      raise self.error(error) from error

  def error(self, why: str | Exception) -> EvaluateError:
    """What to raise about this row."""
    return EvaluateError(f"{self.where}: {why}.")

  def _cell(self, key: str | int) -> Any:
    """A cell; None if it is not there."""
    if isinstance(self.values, Mapping):
      return self.values.get(key)
    return self.values[key] if key < len(self.values) else None


def read_csv(
  path: pathlib.Path,
  columns: Sequence[str] | None = None,
  *,
  widths: Sequence[int] = (),
  tabs: bool = False,
  comments: bool = False,
) -> Iterator[Row]:
  """Yields the rows of a CSV file; empty lines are left out.

  Args:
    path: The file.
    columns: What the header has to name; None of a file without header, whose
      rows are lists.
    widths: Of a file without header, numbers of cells that a row may have.
    tabs: Whether tabs separate cells, and quotes mean nothing.
    comments: Whether lines that begin with # are left out.

  Raises:
    EvaluateError: It cannot be read, is damaged or no UTF-8, or has other
      columns.
  """
  kind = (
    {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    if tabs
    else {"skipinitialspace": True, "strict": True}
  )
  lines = _Lines(path, comments)
  reader = csv.reader(lines, **kind)
  header = None
  try:
    for cells in reader:
      row = Row(cells, f"{path}, line {lines.number}")
      if not cells or (len(cells) == 1 and not cells[0].strip()):
        continue
      if columns is None:
        if len(cells) not in widths:
          raise row.error(
            f"{len(cells)} cells, not {' or '.join(map(str, widths))}"
          )
        yield row
      elif header is None:
        header = [name.strip() for name in cells]
        if missing := [name for name in columns if name not in header]:
          raise row.error(f"no column {', '.join(missing)} in the header")
      elif len(cells) != len(header):
        raise row.error(f"{len(cells)} cells under {len(header)} columns")
      else:
        yield Row(dict(zip(header, cells, strict=True)), row.where)
  except csv.Error as error:
    raise EvaluateError(f"{path}, line {lines.number}: {error}.") from error


class _Lines:
  """Lines of a file, counted."""

  def __init__(self, path: pathlib.Path, comments: bool):
    self._path, self._comments, self.number = path, comments, 0

  def __iter__(self) -> Iterator[str]:
    """Yields them.

    Raises:
      EvaluateError: The file cannot be read, or is no UTF-8.
    """
    try:
      # Bytes, as a text file does not tell which line is no UTF-8.
      with self._path.open("rb") as file:
        for raw in file:
          self.number += 1
          encoding = "utf-8-sig" if self.number == 1 else "utf-8"
          line = raw.decode(encoding)
          if not (self._comments and line.startswith("#")):
            yield line
    except UnicodeDecodeError as error:
      raise EvaluateError(
        f"{self._path}, line {self.number}: no UTF-8; save the file as UTF-8."
      ) from error
    except OSError as error:
      raise _unreadable(self._path, error) from error


def read_json(path: pathlib.Path, under: str = "") -> Iterator[Row]:
  """Yields the objects of a JSON list.

  Args:
    path: The file.
    under: Key of the list in the object that the file holds; empty if it holds
      the list itself.

  Raises:
    EvaluateError: It cannot be read, or has no list of objects there.
  """
  number = 0
  none = EvaluateError(
    f"{path}: a JSON object is needed with a list under {under!r}."
    if under
    else f"{path}: one JSON list is needed ([{{...}}, ...])."
  )
  try:
    with path.open("rb") as file:
      start = utf8_stream.Utf8Stream(file).read(1 << 16).lstrip()
      if start[:1] != (b"{" if under else b"["):
        raise none
      file.seek(0)
      for values in json_items.read(utf8_stream.Utf8Stream(file), under):
        number += 1
        row = Row(values, f"{path}, entry {number}")
        if not isinstance(values, dict):
          raise row.error(f"an object is needed, not {type(values).__name__}")
        yield row
  except json_items.NoListError as error:
    raise none from error
  except json_items.ItemError as error:
    raise EvaluateError(f"{path}, entry {number + 1}: {error}.") from error
  except OSError as error:
    raise _unreadable(path, error) from error


def read_json_lines(path: pathlib.Path) -> Iterator[Row]:
  """Yields the objects of a file with one on each line, if any.

  Raises:
    EvaluateError: It cannot be read, or a line holds no object.
  """
  lines = _Lines(path, comments=False)
  for line in lines:
    if not line.strip():
      continue
    row = Row(None, f"{path}, line {lines.number}")
    try:
      row.values = json_text.parse(line)
    except ValueError as error:
      raise row.error(f"no JSON: {error}") from error
    if not isinstance(row.values, dict):
      raise row.error(f"an object is needed, not {type(row.values).__name__}")
    yield row


def _unreadable(path: str | os.PathLike, error: OSError) -> EvaluateError:
  """What to raise about a file that does not open."""
  return EvaluateError(f"{path}: cannot be read: {error.strerror}.")
