"""Reads the folders of a report: one checkpoint each."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ltu_jax.evaluate import result
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.page import paper
from ltu_jax.evaluate.result import ItemResult, Result

_ITEMS = ".items.jsonl"


@dataclasses.dataclass(frozen=True)
class Run:
  """What came out of one set for one checkpoint."""

  result: Result
  items: Sequence[ItemResult]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A folder of results.

  Attributes:
    name: To show; no two checkpoints of a report have the same.
    folder: Where the results are.
    model: What the results say of the model.
    runs: By name of the set.
  """

  name: str
  folder: pathlib.Path
  model: Mapping[str, Any]
  runs: Mapping[str, Run]


def read(folders: Sequence[pathlib.Path]) -> list[Checkpoint]:
  """Reads all results.

  Args:
    folders: One for each checkpoint, in the order to show.

  Raises:
    EvaluateError: There are none, one is given twice, one has no results or
      those of several models, or a file is damaged.
  """
  if not folders:
    raise EvaluateError("A report needs a folder with results, SET.json.")
  seen = set()
  for folder in folders:
    if folder.resolve() in seen:
      raise EvaluateError(f"{folder}: given twice; give each folder once.")
    seen.add(folder.resolve())
  return _told_apart([_read_folder(folder) for folder in folders])


def set_names(checkpoints: Sequence[Checkpoint]) -> list[str]:
  """All sets that have a result, those of the paper first, in its order."""
  order = {row.set: place for place, row in enumerate(paper.ROWS)}
  names = {name for checkpoint in checkpoints for name in checkpoint.runs}
  return sorted(names, key=lambda x: (order.get(x, len(order)), x))


def with_set(
  checkpoints: Sequence[Checkpoint], name: str
) -> list[tuple[Checkpoint, Run]]:
  """Those checkpoints that have a result of a set, with it."""
  return [(c, c.runs[name]) for c in checkpoints if name in c.runs]


def _read_folder(folder: pathlib.Path) -> Checkpoint:
  """Reads the results of one checkpoint."""
  if not folder.is_dir():
    raise EvaluateError(f"{folder}: no such folder; give one with results.")
  runs = {}
  for path in sorted(folder.glob("*.json")):
    # Other JSON files of a folder have no items beside them.
    if path.with_suffix(_ITEMS).exists():
      read = result.read(path)
      runs[read.set] = Run(read, result.read_items(path))
  if not runs:
    raise EvaluateError(
      f"{folder}: holds no results (SET.json beside SET{_ITEMS}); run"
      " `python -m ltu_jax.evaluate` first."
    )
  first, *others = runs.values()
  model = first.result.model
  for other in others:
    if other.result.model != model:
      raise EvaluateError(
        f"{folder}: {first.result.set}.json and {other.result.set}.json are of"
        " different models; keep the results of each in a folder of its own."
      )
  name = str(model.get("name") or folder.name)
  return Checkpoint(name, folder, model, runs)


def _told_apart(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
  """Adds the folder to a name that several checkpoints have."""
  times = collections.Counter(c.name for c in checkpoints)
  return [
    dataclasses.replace(c, name=f"{c.name} ({c.folder})")
    if times[c.name] > 1
    else c
    for c in checkpoints
  ]
