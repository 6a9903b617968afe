"""How likely each label is for every item, and the file that it is kept in.

OUT/asked/NAME.scores is records of one size, one an item, each with a checksum:
what a killed program left half there is cut off, and asked again.

Letters: C labels.
"""

import base64
import json
import os
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ltu_jax import processes
from ltu_jax.answers.answerer import Question
from ltu_jax.answers.likelihood import Likelihood, Scores
from ltu_jax.ask import asking
from ltu_jax.evaluate.asked import as_asked, check_how, share
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.sets.spec import Item
from ltu_jax.progress import Progress, Tell


def score_all(
  items: Sequence[Item],
  likelihood: Likelihood,
  num_labels: int,
  path: pathlib.Path,
  how: Mapping[str, Any],
  tell: Tell,
  *,
  alone: bool = False,
) -> list[Scores | str]:
  """Scores what has no scores yet; all processes must call it.

  Args:
    items: All items; of several processes, each scores every n-th.
    likelihood: Scores the labels.
    num_labels: C.
    path: OUT/asked/NAME, without an ending.
    how: All that the scores depend on; compared with what is there.
    tell: Takes a line every few seconds.
    alone: Score all of them in this process.

  Returns:
    The scores of each item, or why it has none, in order, the same in all
    processes.

  Raises:
    EvaluateError: There are scores that were made otherwise, or the file cannot
      be written.
  """
  path = check_how(path, how)
  shape = _record(num_labels)
  mine = share(len(items), alone)
  try:
    with path.with_suffix(".scores").open("a+b") as file:
      done = _whole_records(file, shape)
      progress = Progress(path.name, len(mine), len(done), tell)
      left = [number for number in mine if number not in done]
      errors: dict[int, str] = {}
      for number, scores in _scored(items, left, likelihood, errors):
        record = _written(number, scores, shape)
        # Not through the buffer, which would write again when it is closed.
        os.write(file.fileno(), record.tobytes())
        done[number] = record
        progress.advance()
      for error in errors.values():
        progress.advance(error)
      progress.end()
  except OSError as error:
    raise EvaluateError(
      f"{path}.scores: cannot be written: {error.strerror}."
    ) from error
  found = _scores(done, errors)
  for other in [] if alone else _others(done, errors, shape):
    found |= other
  return [found[number] for number in range(len(items))]


def _record(num_labels: int) -> np.dtype:
  """What is kept of an item."""
  return np.dtype(
    [
      ("item", "<i8"),
      ("total", "<f4", (num_labels,)),
      ("tokens", "<i4", (num_labels,)),
      ("check", "<u4"),
    ]
  )


def _check(record: np.ndarray) -> int:
  """The checksum of a record."""
  return zlib.crc32(record.tobytes()[:-4])


def _written(number: int, scores: Scores, shape: np.dtype) -> np.ndarray:
  """Scores as a record."""
  record = np.zeros((), shape)
  record["item"] = number
  record["total"], record["tokens"] = scores.total, scores.tokens
  record["check"] = _check(record)
  return record


def _whole_records(file: BinaryIO, shape: np.dtype) -> dict[int, np.ndarray]:
  """Reads what is there, up to the first record that is not whole."""
  file.seek(0)
  data = file.read()
  count = len(data) // shape.itemsize
  records = np.frombuffer(data[: count * shape.itemsize], shape)
  good = 0
  while good < count and records[good]["check"] == _check(records[good]):
    good += 1
  file.truncate(good * shape.itemsize)
  return {int(r["item"]): r for r in records[:good]}


def _scored(
  items: Sequence[Item],
  numbers: Sequence[int],
  likelihood: Likelihood,
  errors: dict[int, str],
) -> Iterator[tuple[int, Scores]]:
  """Scores items; of those that cannot be asked, notes why."""
  asked: list[int] = []

  def questions() -> Iterator[Question]:
    found = (as_asked(number, items[number]) for number in numbers)
    for item, clip, error in asking.decoded(found, False):
      if error:
        errors[item.number] = error
        continue
      asked.append(item.number)
      yield Question(item.text, clip and clip.pcm)

  for place, scores in likelihood.scores(questions()):
    if isinstance(scores, Scores):
      yield asked[place], scores
    else:
      errors[asked[place]] = str(scores)


def _scores(
  records: Mapping[int, np.ndarray], errors: Mapping[int, str]
) -> dict[int, Scores | str]:
  """Records and errors by item."""
  return {
    number: Scores(r["total"], r["tokens"]) for number, r in records.items()
  } | dict(errors)


def _others(
  records: Mapping[int, np.ndarray], errors: Mapping[int, str], shape: np.dtype
) -> list[dict[int, Scores | str]]:
  """What all processes have."""
  raw = b"".join(record.tobytes() for record in records.values())
  told = {
    "records": base64.b64encode(raw).decode(),
    "errors": list(errors.items()),
  }
  found = []
  for text in processes.gather(json.dumps(told)):
    other = json.loads(text)
    theirs = np.frombuffer(base64.b64decode(other["records"]), shape)
    found.append(
      _scores({int(r["item"]): r for r in theirs}, dict(other["errors"]))
    )
  return found
