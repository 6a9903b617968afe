"""What a run reports: metrics.jsonl, TensorBoard, progress lines.

TensorBoard's event files are written with TensorBoard's own record writer and
protocol buffers, which need no TensorFlow; clu.metric_writers and TensorBoard's
EventFileWriter import TensorFlow where it is installed, and training must not.
"""

import contextlib
import math
import os
import pathlib
import socket
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from ltu_jax.metrics_file import MetricsError, MetricsFile


class Metrics:
  """Writes WORKDIR/metrics.jsonl, WORKDIR/tensorboard/stageN and the terminal.

  metrics.jsonl has one JSON object a line, such as
  {"stage": 2, "step": 120, "loss": 2.345}. NaN and infinity, which JSON lacks,
  become null there.
  """

  def __init__(
    self,
    workdir: str | os.PathLike,
    *,
    enabled: bool = True,
    stream: TextIO | None = None,
  ):
    """Opens the files.

    Args:
      workdir: The run's folder; made if absent.
      enabled: False writes nothing: for all processes but the first.
      stream: Where progress lines go; None is standard output.

    Raises:
      MetricsError: metrics.jsonl is there but is not ours.
    """
    self._stream = stream or sys.stdout
    self._enabled = enabled
    self._board = pathlib.Path(workdir) / "tensorboard"
    self._events: dict[int, RecordWriter] = {}
    self._first: dict[int, int] = {}
    if enabled:
      pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
      self._file = MetricsFile(pathlib.Path(workdir) / "metrics.jsonl")

  def begin(self, stage: int, done: int) -> None:
    """Begins a stage, or goes on with it: what will be made again is dropped.

    Args:
      stage: Number of the stage.
      done: Its finished steps; its lines after them are dropped.

    Raises:
      MetricsError: metrics.jsonl cannot be written.
    """
    if self._enabled:
      self._file.drop_later(stage, done)
      self._first[stage] = done + 1

  def __enter__(self) -> "Metrics":
    """Returns itself; leaving the block closes the files."""
    return self

  def __exit__(self, *_: object) -> None:
    """Closes."""
    self.close()

  def write(self, stage: int, step: int, values: Mapping[str, float]) -> None:
    """Writes the metrics of one step to both files.

    What does not fit on a full disk waits for the next call.

    Args:
      stage: Number of the stage.
      step: Finished steps of the stage.
      values: Name to number (int, float, or an array of one element). Usual
        names: loss, lr, grad_norm, questions_per_second, data_wait.

    Raises:
      MetricsError: A value is no number; the message names it.
    """
    if not self._enabled:
      return
    values = {name: _number(name, value) for name, value in values.items()}
    line = {"stage": stage, "step": step}
    line |= {k: v if math.isfinite(v) else None for k, v in values.items()}
    self._file.append(line)
    self._try_events(stage, step, values)

  def show(self, stage: int, step: int, values: Mapping[str, float]) -> None:
    """Writes values for TensorBoard alone: what is no step's own.

    Args:
      stage: Number of the stage.
      step: Steps of it that are done.
      values: Name -> number.
    """
    if self._enabled:
      self._try_events(stage, step, values)

  def flush(self) -> str:
    """Puts all lines on the disk; to be called before a checkpoint is.

    Returns:
      Why they are not all there; "" if they are.
    """
    return self._file.flush(sync=True) if self._enabled else ""

  def progress(
    self, stage: int, step: int, num_steps: int, values: Mapping[str, float]
  ) -> None:
    """Prints `progress_line` to the terminal."""
    self.print(progress_line(stage, step, num_steps, values))

  def print(self, text: str) -> None:
    """Prints a line to the terminal, at once, from the first process only."""
    if self._enabled:
      print(text, file=self._stream, flush=True)

  def close(self) -> None:
    """Closes the files."""
    if not self._enabled:
      return
    if problem := self._file.close():
      print(f"{problem}; lines are lost", file=sys.stderr, flush=True)
    for events in self._events.values():
      with contextlib.suppress(OSError):
        events.close()
    self._events.clear()

  def _try_events(
    self, stage: int, step: int, values: Mapping[str, float]
  ) -> None:
    """Writes for TensorBoard, unless the disk fails."""
    try:
      self._write_events(stage, step, values)
    except OSError:
      # A record that is torn ends its file; the next step begins another. The
      # picture lacks a step then, metrics.jsonl does not.
      self._events.pop(stage, None)
      self._first[stage] = step + 1

  def _write_events(
    self, stage: int, step: int, values: Mapping[str, float]
  ) -> None:
    """Writes a step for TensorBoard."""
    events = self._events.get(stage) or self._open_events(stage)
    summary = summary_pb2.Summary(
      value=[
        summary_pb2.Summary.Value(tag=name, simple_value=value)
        for name, value in values.items()
      ]
    )
    _write_event(events, step=step, summary=summary)
    events.flush()

  def _open_events(self, stage: int) -> RecordWriter:
    """Starts an event file; TensorBoard drops what it overlaps."""
    folder = self._board / f"stage{stage}"
    folder.mkdir(parents=True, exist_ok=True)
    # The name has to sort after those of earlier starts.
    name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
    events = RecordWriter((folder / name).open("wb"))
    _write_event(events, file_version="brain.Event:2")
    # Steps from this one on in older files of this stage are dropped.
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    _write_event(events, step=self._first.get(stage, 0), session_log=start)
    self._events[stage] = events
    return events


def progress_line(
  stage: int, step: int, num_steps: int, values: Mapping[str, float]
) -> str:
  """Renders one line about a step.

  Args:
    stage: Number of the stage.
    step: Finished steps of the stage.
    num_steps: Steps that the stage has.
    values: As for `Metrics.write`; "seconds_per_step" gives the time left.
      Parts whose value is absent are left out.

  Returns:
    For example: stage 2  step 120/600  loss 2.345  lr 1.0e-04  310 q/s
    data 1%  mfu 41%  13.1 GiB  eta 1m20s (on one line).
  """
  parts = [f"stage {stage}", f"step {step}/{num_steps}"]
  formats = {
    "loss": "loss {:.3f}",
    "lr": "lr {:.1e}",
    "questions_per_second": "{:.0f} q/s",
    "data_wait": "data {:.0%}",
    "mfu": "mfu {:.0%}",
    "memory_gib": "{:.1f} GiB",
  }
  for name, text in formats.items():
    if name in values:
      parts.append(text.format(float(values[name])))
  if "seconds_per_step" in values:
    left = (num_steps - step) * float(values["seconds_per_step"])
    parts.append(f"eta {duration(left)}")
  return "  ".join(parts)


def duration(seconds: float) -> str:
  """Renders seconds as 45s, 1m20s, 2h05m or 3d04h."""
  seconds = round(seconds)
  if seconds < 60:
    return f"{seconds}s"
  if seconds < 3600:
    return f"{seconds // 60}m{seconds % 60:02d}s"
  if seconds < 86400:
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
  return f"{seconds // 86400}d{seconds % 86400 // 3600:02d}h"


def _number(name: str, value: object) -> int | float:
  """Turns a metric (also an array of one element) into a Python number."""
  value = value.item() if hasattr(value, "item") else value
  if not isinstance(value, int | float):
    raise MetricsError(f"metric {name!r} is {value!r}, which is no number.")
  return value


def _write_event(events: RecordWriter, **fields: object) -> None:
  """Writes one TensorBoard event with the time of now."""
  event = event_pb2.Event(wall_time=time.time(), **fields)
  events.write(event.SerializeToString())
