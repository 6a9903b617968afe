"""A set's result: the numbers, and everything that they depend on.

OUT/SET.json        the result
OUT/SET.items.jsonl one line an item: question, answers, truth, what was scored
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ltu_jax import json_text
from ltu_jax.evaluate.errors import EvaluateError

FORMAT = 1
"""Raised when a field changes its meaning."""


@dataclasses.dataclass(frozen=True)
class Metric:
  """One number.

  Attributes:
    name: What is measured, such as "accuracy", "mAP", "CIDEr-D".
    value: As a fraction (0.831, not 83.1); CIDEr-D may exceed 1. None if it is
      not defined, or could not be computed here (see `note`).
    protocol: How answers were scored, such as "published", "constrained";
      "" where there is one way.
    low: Lower end of the 95 % bootstrap interval over items.
    high: Upper end.
    count: Items that it stands on.
    deviation: Standard deviation over sampled outputs, where several were.
    chance: What a guesser without ears gets; None if that is not defined.
    headline: Whether it is the one that the paper's table has.
    note: Why there is no value, or what it is of; "" if nothing.
  """

  name: str
  value: float | None
  protocol: str = ""
  low: float | None = None
  high: float | None = None
  count: int = 0
  deviation: float | None = None
  chance: float | None = None
  headline: bool = False
  note: str = ""


@dataclasses.dataclass(frozen=True)
class Classes:
  """Numbers by class.

  Attributes:
    labels: The classes.
    count: Items of each.
    average_precision: Of each by protocol; None for a class without items.
    confusion: By protocol, rows are truths, columns what was said; only of
      sets with one label an item.
  """

  labels: Sequence[str]
  count: Sequence[int]
  average_precision: Mapping[str, Sequence[float | None]]
  confusion: Mapping[str, Sequence[Sequence[int]]]


@dataclasses.dataclass(frozen=True)
class Result:
  """What came out of one set for one model.

  Attributes:
    set: Name of the set.
    title: The same for people.
    kind: See sets/spec.py.
    model: `name` to show, `source` (folder), and what tells models apart.
    made: When, ISO 8601, UTC.
    revision: Git revision of this code, "" if it is not in a repository.
    versions: Of the packages that matter.
    devices: What it ran on.
    settings: All that the numbers depend on beside model and data: question,
      decode settings, seed, text embedder, limits, bootstrap. Results whose
      settings differ are not compared.
    data: `source` (file and SHA-256), `total`, `found`, `unreadable`, `items`
      asked, `missing` (the first ids).
    config: The run's config; {} if it is not known.
    metrics: The numbers.
    classes: Numbers by class; None where there are none.
    seconds: Time that it took.
    published: The paper's number of the headline metric, in percent, by model.
  """

  set: str
  title: str
  kind: str
  model: Mapping[str, Any]
  made: str
  revision: str
  versions: Mapping[str, str]
  devices: str
  settings: Mapping[str, Any]
  data: Mapping[str, Any]
  config: Mapping[str, Any]
  metrics: Sequence[Metric]
  classes: Classes | None
  seconds: float
  published: Mapping[str, float]

  @property
  def headline(self) -> Metric | None:
    """The number for the table; None if it was not measured."""
    return next((m for m in self.metrics if m.headline), None)


@dataclasses.dataclass(frozen=True)
class ItemResult:
  """What came out of one item, a line of SET.items.jsonl.

  Attributes:
    id: Of the item.
    audio: The sound file's name.
    path: Where it was; None if it is in no file of its own.
    question: What was asked.
    truth: See sets/spec.py.
    answers: What the model said, one or several samples.
    said: What that was taken for, by protocol: a label, a choice, a verdict.
    score: 0 to 1 and more, by protocol: how good the answer is; for the worst
      and best items of the report.
    group: See sets/spec.py.
    error: Why there is no answer; "" if there is.
  """

  id: str
  audio: str
  path: str | None
  question: str
  truth: Sequence[str]
  answers: Sequence[str]
  said: Mapping[str, str]
  score: Mapping[str, float]
  group: str = ""
  error: str = ""


def write(
  folder: pathlib.Path, result: Result, items: Sequence[ItemResult]
) -> None:
  """Writes both files, each whole or not at all.

  Args:
    folder: Where; made if it is not there.
    result: The numbers.
    items: One for each item, in the set's order.
  """
  folder.mkdir(parents=True, exist_ok=True)
  lines = [_plain(item) for item in items]
  _replace(
    folder / f"{result.set}.items.jsonl",
    "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines),
  )
  text = json.dumps(
    {"format": FORMAT} | _plain(result),
    indent=1,
    ensure_ascii=False,
    allow_nan=False,
  )
  _replace(folder / f"{result.set}.json", text + "\n")


def read(path: pathlib.Path) -> Result:
  """Reads a result.

  Raises:
    EvaluateError: The file is missing, damaged or of a later version.
  """
  values = _read_json(path)
  if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
    raise EvaluateError(f"{path}: no result of this version of ltu_jax.")
  try:
    metrics = [Metric(**m) for m in values.pop("metrics")]
    classes = values.pop("classes")
    classes = classes and Classes(**classes)
    return Result(**values, metrics=metrics, classes=classes)
  except (TypeError, LookupError, AttributeError) as error:
    raise EvaluateError(f"{path}: a damaged result: {error}") from error


def read_items(path: pathlib.Path) -> list[ItemResult]:
  """Reads the lines beside a result.

  Args:
    path: Of the result, SET.json.

  Raises:
    EvaluateError: The file is missing or damaged.
  """
  path = path.with_suffix(".items.jsonl")
  try:
    # Not splitlines, which takes U+2028 in an answer for the end of a line.
    lines = path.read_text(encoding="utf-8").split("\n")
    return [ItemResult(**json_text.parse(line)) for line in lines if line]
  except OSError as error:
    raise EvaluateError(f"{path}: cannot be read: {error.strerror}.") from error
  except (ValueError, TypeError) as error:
    raise EvaluateError(f"{path}: a damaged file of items: {error}") from error


def _read_json(path: pathlib.Path) -> Any:
  """Parses a file."""
  try:
    return json_text.parse(path.read_bytes())
  except OSError as error:
    raise EvaluateError(f"{path}: cannot be read: {error.strerror}.") from error
  except ValueError as error:
    raise EvaluateError(f"{path}: a damaged result: {error}") from error


def _replace(path: pathlib.Path, text: str) -> None:
  """Writes a file that is whole or not there."""
  part = path.with_name(path.name + ".part")
  # Of a file name that is no UTF-8, half a character becomes "\udcff".
  part.write_bytes(text.encode("utf-8", "backslashreplace"))
  os.replace(part, path)


def _plain(value: Any) -> dict[str, Any]:
  """A dataclass as plain values, the dataclasses in it too."""
  return dataclasses.asdict(value)
