"""The texts of all questions of a split, to be read without its audio.

How many tokens a question has decides which row it goes into, and is needed of
all questions before training; the records that hold them hold the audio too,
which is a hundred times as much. So builders write the texts once more, beside
the records, as `question_texts-SPLIT.jsonl.gz`: a line for each record, in
order, with a JSON list of [instruction, input, output] for each question.

A gzip file may consist of several, one after the other: those of the shards of
a build are joined as they are. The standard library and etils alone are needed,
as builders write it where there is no JAX.
"""

import gzip
import io
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence

from etils import epath

Texts = Sequence[Sequence[str]]
"""[instruction, input, output] of each question of a clip."""

_DAMAGED = (OSError, EOFError, zlib.error, ValueError)
"""What reading a damaged file raises; bad JSON and bad UTF-8 are ValueErrors.

gzip's own error is an OSError."""


class TextsError(ValueError):
  """A file of texts that cannot be used; names it and says what to do."""


def path(data_dir: epath.PathLike, split: str) -> epath.Path:
  """Returns where the texts of a split lie: beside the record files."""
  return epath.Path(data_dir) / f"question_texts-{split}.jsonl.gz"


def save(file: epath.PathLike, clips: Iterable[Texts]) -> None:
  """Writes the texts of clips; the same texts, the same bytes.

  Args:
    file: Where to.
    clips: The texts of each record, in their order.
  """
  packed = io.BytesIO()
  # No name and no time in the header.
  with gzip.GzipFile("", "wb", 6, packed, mtime=0) as out:
    for questions in clips:
      line = json.dumps(
        questions, ensure_ascii=False, separators=(",", ":"), default=list
      )
      out.write(line.encode() + b"\n")
  epath.Path(file).write_bytes(packed.getvalue())


def join(parts: Iterable[epath.PathLike], file: epath.PathLike) -> None:
  """Joins the texts of consecutive records into one file."""
  with epath.Path(file).open("wb") as out:
    for part in parts:
      with epath.Path(part).open("rb") as read:
        shutil.copyfileobj(read, out)


def read(file: epath.PathLike) -> Iterator[Texts]:
  """Yields the texts of each record; holds a few of them at a time.

  Args:
    file: On a disk or in a bucket.

  Raises:
    TextsError: It is damaged.
  """
  file = epath.Path(file)
  try:
    with file.open("rb") as packed, gzip.GzipFile(fileobj=packed) as lines:
      for line in lines:
        yield _parsed(line)
  except _DAMAGED as error:
    raise TextsError(
      f"{file} is damaged ({type(error).__name__}: {error}); build the data set"
      " again, or remove the file: the records are read in its place then"
    ) from error


def _parsed(line: bytes) -> Texts:
  """The texts of one line.

  Raises:
    ValueError: It is no list of lists of three texts.
  """
  found = json.loads(line)
  if not isinstance(found, list) or not all(map(_is_question, found)):
    raise ValueError(f"a line is no list of questions: {line[:60]!r}")
  return found


def _is_question(found: object) -> bool:
  return (
    isinstance(found, list)
    and len(found) == 3
    and all(isinstance(text, str) for text in found)
  )
