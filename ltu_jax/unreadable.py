"""Clips that a run cannot read: each is told once, and too many stop the run.

Which rows of a batch they are, and why, comes from `data.openaqa.Batches`.
"""

import json
import os
import pathlib
from collections.abc import Sequence

from ltu_jax import json_text
from ltu_jax.data.openaqa import Unreadable

_FEW = 10
"""Rows that may be skipped before their share is looked at."""

_LISTED = 20
"""Clips that the error lists."""


class UnreadableError(ValueError):
  """A run that stops: too many rows cannot be read, or the list of them."""


class Skipped:
  """The rows that one stage skips.

  Each clip is told once, on the terminal and as a line of
  WORKDIR/unreadable.jsonl, such as {"stage": 2, "step": 7, "row": 12, "clip":
  3, "id": "Y123", "reason": "the file is empty (0 bytes)"}: `row` is the number
  of the row (with one question a row, its place among those of the stage),
  `clip` that of the record, and `id` is null where it cannot be read. Of
  several processes each writes its own file: the second unreadable-1.jsonl and
  so on.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    stage: int,
    max_share: float,
    process: int = 0,
  ):
    """Reads which clips were told before.

    Args:
      workdir: The run's folder.
      stage: Number of the stage.
      max_share: Share of the rows, 0 to 1, above which `count` stops the run.
      process: Number of this process.

    Raises:
      UnreadableError: The file is there but is not ours.
    """
    name = f"unreadable-{process}.jsonl" if process else "unreadable.jsonl"
    self.path = pathlib.Path(workdir) / name
    self._stage, self._max_share = stage, max_share
    self._told = _clips(self.path)
    self._found: dict[int, Unreadable] = {}
    self._skipped = self._seen = 0

  def tell(self, step: int, rows: Sequence[Unreadable]) -> None:
    """Tells of the clips that were not told before.

    Args:
      step: Finished steps of the stage when the rows are used, as in
        metrics.jsonl.
      rows: What could not be read of this process's part of the batch.
    """
    for row in rows:
      self._found.setdefault(row.clip, row)
      if row.clip in self._told:
        continue
      self._told.add(row.clip)
      print(
        f"stage {self._stage}  step {step}  skipped {_line(row)}", flush=True
      )
      line = {
        "stage": self._stage,
        "step": step,
        "row": row.row,
        "clip": row.clip,
        "id": row.clip_id or None,
        "reason": row.reason,
      }
      with self.path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")

  def count(self, skipped: int, rows: int) -> None:
    """Counts a step's rows.

    The counts are those of all processes, so that all stop at the same step.

    Args:
      skipped: Rows that were skipped.
      rows: Rows of the step.

    Raises:
      UnreadableError: More than the share of the rows so far were skipped, and
        they are ten or more, or all of several, or none may be.
    """
    self._skipped += skipped
    self._seen += rows
    enough = (
      self._skipped >= _FEW
      or self._skipped == self._seen > 1
      or not self._max_share
    )
    if not enough or self._skipped <= self._max_share * self._seen:
      return
    found = list(self._found.values())
    lines = [f"  {_line(row)}" for row in found[:_LISTED]]
    if len(found) > _LISTED:
      lines.append(f"  and {len(found) - _LISTED} more")
    if not found:  # the clips are another process's
      lines = ["  none in the rows of this process"]
    raise UnreadableError(
      f"{self._skipped} of {self._seen} rows of stage {self._stage} so far are"
      " of clips that cannot be read, and config.data.max_unreadable is"
      f" {self._max_share}:\n"
      + "\n".join(lines)
      + f"\nAll clips are in {self.path}. Build the data set again, or set"
      " config.data.max_unreadable higher; started again, the run goes on from"
      " its last checkpoint."
    )


def _line(row: Unreadable) -> str:
  """What is wrong with a clip, in a line."""
  name = f" {row.clip_id!r}" if row.clip_id else ""
  return f"clip {row.clip}{name}: {row.reason}"


def _clips(path: pathlib.Path) -> set[int]:
  """Clips in a file; the torn last line of a killed run is taken off.

  Raises:
    UnreadableError: A line that `Skipped` does not write.
  """
  if not path.exists():
    return set()
  text = path.read_bytes()
  whole = text[: text.rfind(b"\n") + 1]
  clips = set()
  for number, line in enumerate(whole.splitlines(), 1):
    try:
      clips.add(int(json_text.parse(line)["clip"]))
    except (KeyError, OverflowError, TypeError, ValueError) as error:
      raise UnreadableError(
        f"{path}: line {number} names no clip. Take it out, or move the file"
        " away."
      ) from error
  if whole != text:
    path.write_bytes(whole)
  return clips
