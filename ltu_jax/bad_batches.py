"""Batches whose update was skipped: kept as files that can be run again."""

import json
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ltu_jax import json_text
from ltu_jax.bucket_scratch import shown
from ltu_jax.data.question_source import RecordError

FOLDER = "bad_batches"
"""Where the files are in a run's folder."""


class BadBatchError(ValueError):
  """Too many updates that were skipped, or a batch's file that is none."""


class Rows(Protocol):
  """What a stream of batches tells of them; see data.openaqa.Batches."""

  def rows(self, step: int) -> list[int]:
    """Row numbers of batch `step` (from 0) of all hosts."""
    ...

  def describe(self, row: int) -> dict[str, Any]:
    """What a row is, in words."""
    ...


class BadBatches:
  """Those of one stage; only the first process writes."""

  def __init__(
    self,
    workdir: pathlib.Path,
    stage: int,
    batches: Rows,
    max_in_row: int,
    enabled: bool = True,
  ):
    """Begins to count.

    Args:
      workdir: the run's folder.
      stage: number of the stage.
      batches: the stream of batches.
      max_in_row: steps in a row without an update, above which `note` raises.
      enabled: whether this process writes.
    """
    self._folder, self._stage = workdir / FOLDER, stage
    self._batches, self._enabled = batches, enabled
    self._max_in_row, self._in_row = max_in_row, 0

  def note(self, step: int, values: Mapping[str, float]) -> None:
    """Looks at a step's metrics; to be called for every step.

    Args:
      step: finished steps of the stage with this one.
      values: its metrics.

    Raises:
      BadBatchError: too many updates in a row were skipped.
    """
    if not values["not_updated"]:
      self._in_row = 0
      return
    self._in_row += 1
    file = self._folder / f"stage{self._stage}-step{step}.json"
    why = "not finite" if values["not_finite"] else "a spike"
    problem = self._write(file, step, why, values) if self._enabled else ""
    if self._enabled:
      print(
        f"stage {self._stage}  step {step}  no update: loss"
        f" {values['loss']:.4g}, gradient norm {values['grad_norm']:.4g}:"
        f" {why}; the batch is in {shown(file)}{problem}",
        file=sys.stderr,
        flush=True,
      )
    if self._in_row > self._max_in_row:
      raise BadBatchError(
        f"stage {self._stage}: the last {self._in_row} updates were skipped,"
        f" and config.guard.max_in_row is {self._max_in_row}. The newest batch"
        f" is {file}; look at it with --config.debug.replay={file}, or set a"
        f" lower config.stages.stage{self._stage}.peak_lr. Started again, the"
        " run goes on from its last checkpoint."
      )

  def _write(
    self, file: pathlib.Path, step: int, why: str, values: Mapping[str, float]
  ) -> str:
    """Writes a batch's file; returns what to say if it cannot."""
    number = lambda x: x if math.isfinite(x) else str(x)
    rows = self._batches.rows(step - 1)
    content = {
      "stage": self._stage,
      "step": step,
      "why": why,
      "loss": number(values["loss"]),
      "grad_norm": number(values["grad_norm"]),
      "rows": rows,
      "questions": describe(self._batches, rows),
    }
    try:
      file.parent.mkdir(exist_ok=True)
      fresh = file.with_suffix(".tmp")
      fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
      fresh.replace(file)
    except OSError as error:
      return f", which could not be written ({error.strerror})"
    return ""


def describe(batches: Rows, rows: Sequence[int]) -> list[dict[str, Any]]:
  """What rows are, in words; of unreadable ones, that they are."""
  found = []
  for row in rows:
    try:
      found.append(batches.describe(row))
    except RecordError as error:
      found.append({"row": row, "unreadable": str(error)})
  return found


def read(path: str) -> tuple[int, int, list[int]]:
  """Reads a file that `BadBatches` wrote.

  Returns:
    Stage, step (finished steps with this one), row numbers.

  Raises:
    BadBatchError: there is none, or it is another file.
  """
  try:
    found = json_text.read(path)
    stage, step, rows = (found[key] for key in ("stage", "step", "rows"))
    whole = [stage, step, *rows]
  except OSError as error:
    raise BadBatchError(
      f"config.debug.replay: {path} cannot be read"
      f" ({error.strerror or 'there is no such object'})"
    ) from error
  except (ValueError, KeyError, TypeError) as error:
    raise BadBatchError(
      f"config.debug.replay: {path} is no file of a skipped batch; they are in"
      f" WORKDIR/{FOLDER}"
    ) from error
  if not all(isinstance(number, int) for number in whole) or step < 1:
    raise BadBatchError(
      f"config.debug.replay: {path} does not name a stage, a step and rows"
    )
  return stage, step, rows
