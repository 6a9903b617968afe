"""The files of a set of questions: written aside, then given their names.

Whatever stops a command, the files of an earlier one stay whole. COMPOSITION is
there only while all others belong together.
"""

import contextlib
import fcntl
import json
import os
import pathlib
from typing import IO, Any

from ltu_jax.aqa.errors import AqaError

CLOSED = "closed.json"
"""Closed-ended questions in the published format."""

OPEN = "open.json"
"""Open-ended questions, if somebody made them: read when TFDS's is built."""

RECORDS = "records.jsonl"
"""The record of each clip; see record_lines.py."""

MISSING = "missing.tsv"
"""Data set, clip and name of each sound that is not there."""

COMPOSITION = "composition.json"
COMPOSITION_TEXT = "composition.md"

_STREAMED = (CLOSED, RECORDS, MISSING)


class Output:
  """Writes the files of a folder; a context, which gives up if it fails."""

  def __init__(self, folder: pathlib.Path):
    """Makes the folder.

    Raises:
      AqaError: It cannot be written, or another process writes it.
    """
    self._folder = folder
    self._stack = contextlib.ExitStack()
    self._files: dict[str, IO[bytes]] = {}
    self._entries = 0
    try:
      folder.mkdir(parents=True, exist_ok=True)
      for name in _STREAMED:
        file = self._stack.enter_context(_locked(_part(folder, name)))
        self._files[name] = file
    except OSError as error:
      self._stack.close()
      raise AqaError(f"{folder}: cannot be written: {error}.") from error
    except AqaError:
      self._stack.close()
      raise
    self._files[CLOSED].write(b"[")

  def __enter__(self) -> "Output":
    """Returns itself."""
    return self

  def __exit__(self, *error: object) -> None:
    """Removes what has no name yet."""
    for name in _STREAMED:
      with contextlib.suppress(OSError):
        if os.path.samestat(
          os.fstat(self._files[name].fileno()),
          os.stat(_part(self._folder, name)),
        ):
          _part(self._folder, name).unlink()
    self._stack.close()

  def add_questions(self, entries: bytes) -> None:
    """Adds entries of the published format, with commas between them."""
    if entries:
      self._files[CLOSED].write(b",\n" if self._entries else b"\n")
      self._files[CLOSED].write(entries)
      self._entries += 1

  def add_records(self, lines: bytes) -> None:
    """Adds lines of records."""
    self._files[RECORDS].write(lines)

  def add_missing(self, dataset: str, clip_id: str, name: str) -> None:
    """Adds a clip whose sound is not there."""
    cells = (dataset, clip_id, name)
    line = "\t".join(" ".join(cell.split()) for cell in cells)
    self._files[MISSING].write(f"{line}\n".encode(errors="replace"))

  def finish(self, composition: dict[str, Any], text: str) -> None:
    """Gives all files their names.

    Args:
      composition: What there is, as JSON.
      text: The same for people.
    """
    self._files[CLOSED].write(b"\n]\n")
    last = self._folder / COMPOSITION
    last.unlink(missing_ok=True)
    for name, file in self._files.items():
      file.flush()
      os.fsync(file.fileno())
      os.replace(_part(self._folder, name), self._folder / name)
    _write(self._folder / COMPOSITION_TEXT, text)
    _write(last, json.dumps(composition, indent=1, ensure_ascii=False) + "\n")


def _part(folder: pathlib.Path, name: str) -> pathlib.Path:
  """Where a file lies before it is whole."""
  return folder / f"{name}.part"


def _locked(path: pathlib.Path) -> IO[bytes]:
  """Opens a file that no other process has open in this way, and empties it.

  Raises:
    AqaError: One has.
  """
  while True:
    file = path.open("ab")
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      file.close()
      raise AqaError(
        f"{path.parent}: another process makes it; wait for it, or give "
        "another folder with --out."
      ) from error
    # Who had it may have given it its name meanwhile.
    with contextlib.suppress(FileNotFoundError):
      if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
        file.truncate(0)
        return file
    file.close()


def _write(path: pathlib.Path, text: str) -> None:
  """Writes a small file as a whole."""
  part = path.with_name(f"{path.name}.part")
  part.write_bytes(text.encode("utf-8", errors="replace"))
  os.replace(part, path)
