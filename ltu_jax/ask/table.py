"""Tables of questions: CSV, JSON lines, or one JSON list such as OpenAQA's.

A table is somebody else's file: it is read row by row, within limits.
"""

import csv
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from ltu_jax import json_items, json_text, utf8_stream
from ltu_jax.ask.errors import AskError
from ltu_jax.ask.items import Item

_NAMES = {
  "audio": "audio",
  "audio_id": "audio",
  "question": "question",
  "instruction": "question",
  "input": "input",
  "reference": "reference",
  "output": "reference",
  "dataset": "",
  "task": "",
}
"""Columns, with the field of Item that each fills; "" fills none."""

_LONGEST_LINE = 4 << 20
"""Bytes of a line of JSON at most; published entries have 1 kB."""


class Table:
  """The questions of a file; can be gone through any number of times."""

  def __init__(self, path: str, root: str | None = None, question: str = ""):
    """Opens no file yet.

    Args:
      path: A file whose name ends in .csv, .jsonl or .json.
      root: The folder of relative sound files; None is the table's own.
      question: What is asked in rows that have no question.

    Raises:
      AskError: The name has another ending.
    """
    self._path, self._question = path, question
    self._root = os.path.dirname(path) if root is None else root
    ending = pathlib.PurePath(path).suffix.lower()
    readers = {".csv": _csv, ".jsonl": _lines, ".json": _list}
    if ending not in readers:
      raise AskError(
        f"{path}: the table's name must end in {', '.join(readers)}."
      )
    self._rows = readers[ending]
    self._length: int | None = None

  def __len__(self) -> int:
    """How many rows there are, each of which is checked the first time.

    Raises:
      AskError: As iterating.
    """
    if self._length is None:
      self._length = sum(1 for _ in self)
    return self._length

  def __iter__(self) -> Iterator[Item]:
    """All questions, in order.

    Raises:
      AskError: The file cannot be read, is damaged or empty, or a row has
        unknown, missing or wrong columns; says in which line.
    """
    if not os.path.isfile(self._path):
      why = "it is no plain file" if os.path.exists(self._path) else "not found"
      raise AskError(f"{self._path}: cannot be read: {why}.")
    number = -1
    try:
      for number, (where, row) in enumerate(self._rows(self._path)):
        try:
          item = self._item(number, row)
        except ValueError as error:
          raise AskError(f"{self._path}, {where}: {error}") from error
        yield item
    except OSError as error:
      raise AskError(
        f"{self._path}: cannot be read: {error.strerror}."
      ) from error
    except UnicodeDecodeError as error:
      raise AskError(
        f"{self._path}: is no UTF-8 after row {number + 1}; save it as UTF-8."
      ) from error
    if number < 0:
      raise AskError(f"{self._path}: holds no questions.")

  def _item(self, number: int, row: Any) -> Item:
    """A row as an item; raises ValueError."""
    fields = _fields(row)
    question = fields.get("question") or ""
    if not question.strip():
      question = self._question
    if not question.strip():
      raise ValueError(
        "no question; fill the column question (or instruction), or give the "
        "question for such rows on the command line"
      )
    if "audio" not in fields:
      raise ValueError(
        "no column audio (or audio_id); leave its cell empty for a question "
        "without sound"
      )
    audio = fields["audio"] or None
    return Item(
      number,
      audio,
      audio and os.path.join(self._root, audio),
      question,
      fields.get("input") or "",
      fields.get("reference"),
    )


def _fields(row: Any) -> dict[str, str | None]:
  """The cells of a row by the field of Item; raises ValueError."""
  if not isinstance(row, dict):
    raise ValueError(f"an object is needed, not {type(row).__name__}")
  fields: dict[str, str | None] = {}
  for column, cell in row.items():
    if column not in _NAMES:
      raise ValueError(
        f"unknown column {str(column)[:80]!r}; known ones are "
        f"{', '.join(_NAMES)}"
      )
    field = _NAMES[column]
    if not field:
      continue
    if field in fields:
      both = [name for name, same in _NAMES.items() if same == field]
      raise ValueError(f"both {' and '.join(both)} are there; keep one of them")
    if cell is not None and not isinstance(cell, str):
      raise ValueError(f"{column} is {type(cell).__name__}, not text")
    fields[field] = utf8_stream.mend(cell) if cell else cell
  return fields


def _csv(path: str) -> Iterator[tuple[str, dict[str, str]]]:
  """Rows of a CSV file with a header, with where they are."""
  with open(path, encoding="utf-8-sig", newline="") as file:
    reader = csv.reader(file, strict=True)
    try:
      header = [name.strip() for name in next(reader, [])]
      _check_header(header, path)
      for cells in reader:
        where = f"line {reader.line_num}"
        if not cells:
          continue
        if len(cells) != len(header):
          raise AskError(
            f"{path}, {where}: {len(cells)} cells under {len(header)} columns;"
            " put text with a comma in quotes."
          )
        yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
      raise AskError(f"{path}, line {reader.line_num}: {error}.") from error


def _check_header(header: list[str], path: str) -> None:
  """Raises AskError for names that no row could have."""
  twice = sorted({name for name in header if header.count(name) > 1})
  if twice:
    raise AskError(f"{path}, line 1: there twice: {', '.join(twice)}.")
  try:
    fields = _fields(dict.fromkeys(header))
    if header and "audio" not in fields:
      raise ValueError("no column audio (or audio_id)")
  except ValueError as error:
    raise AskError(f"{path}, line 1: {error}") from error


def _lines(path: str) -> Iterator[tuple[str, Any]]:
  """Rows of JSON lines, with where they are."""
  with open(path, "rb") as file:
    number = 0
    while line := file.readline(_LONGEST_LINE + 1):
      number += 1
      where = f"line {number}"
      if len(line) > _LONGEST_LINE:
        raise AskError(
          f"{path}, {where}: it has over {_LONGEST_LINE >> 20} MB."
        )
      line = line.decode("utf-8-sig")
      if not line.strip():
        continue
      try:
        row = json_text.parse(line, unique=True)
      except ValueError as error:
        raise AskError(f"{path}, {where}: no JSON: {error}") from error
      yield where, row


def _list(path: str) -> Iterator[tuple[str, Any]]:
  """Entries of a JSON list, with where they are."""
  with open(path, "rb") as file:
    start = utf8_stream.Utf8Stream(file).read(1 << 16).lstrip()
  if start[:1] != b"[":
    raise AskError(
      f"{path}: one JSON list is needed ([{{...}}, ...]); a file of one object "
      "a line must be named .jsonl."
    )
  with open(path, "rb") as file:
    number = 0
    try:
      for row in json_items.read(utf8_stream.Utf8Stream(file)):
        number += 1
        yield f"entry {number}", row
    except json_items.ItemError as error:
      raise AskError(f"{path}, entry {number + 1}: {error}") from error
