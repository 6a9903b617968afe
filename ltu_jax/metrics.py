"""What a run reports: metrics.jsonl, TensorBoard, progress lines.

TensorBoard's event files are written with TensorBoard's own record writer and
protocol buffers, which need no TensorFlow; clu.metric_writers and TensorBoard's
EventFileWriter import TensorFlow where it is installed, and training must not.
"""

import contextlib
import json
import math
import os
import pathlib
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


class MetricsError(ValueError):
  """A metric that is no number, or a metrics file that cannot be read."""


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
    resume: tuple[int, int] = (0, 0),
    enabled: bool = True,
    stream: TextIO | None = None,
  ):
    """Opens the files; lines of steps that will be run again are dropped.

    Args:
      workdir: The run's folder; made if absent.
      resume: (stage, step) that the run goes on from, in which `step` counts
        finished steps of the stage. Lines after it are dropped: those of a
        later stage, or of this stage and a later step. (0, 0) drops all.
      enabled: False writes nothing: for all processes but the first.
      stream: Where progress lines go; None is standard output.

    Raises:
      MetricsError: metrics.jsonl is there but is not ours.
    """
    self._stream = stream or sys.stdout
    self._enabled = enabled
    self._resume = tuple(resume)
    self._board = pathlib.Path(workdir) / "tensorboard"
    self._events: dict[int, RecordWriter] = {}
    if not enabled:
      return
    path = pathlib.Path(workdir) / "metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_later(path, self._resume)
    self._lines = path.open("a", encoding="utf-8")

  def __enter__(self) -> "Metrics":
    """Returns itself; leaving the block closes the files."""
    return self

  def __exit__(self, *_: object) -> None:
    """Closes."""
    self.close()

  def write(self, stage: int, step: int, values: Mapping[str, float]) -> None:
    """Writes the metrics of one step to both files, at once on disk.

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
    self._lines.write(json.dumps(line, allow_nan=False) + "\n")
    self._lines.flush()
    summary = summary_pb2.Summary(
      value=[
        summary_pb2.Summary.Value(tag=name, simple_value=value)
        for name, value in values.items()
      ]
    )
    events = self._events.get(stage) or self._open_events(stage)
    _write_event(events, step=step, summary=summary)
    events.flush()

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
    self._lines.close()
    for events in self._events.values():
      events.close()
    self._events.clear()

  def _open_events(self, stage: int) -> RecordWriter:
    """Starts an event file; TensorBoard drops what it overlaps."""
    folder = self._board / f"stage{stage}"
    folder.mkdir(parents=True, exist_ok=True)
    # The name has to sort after those of earlier starts.
    name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
    events = RecordWriter((folder / name).open("wb"))
    _write_event(events, file_version="brain.Event:2")
    started, step = self._resume
    # Steps from this one on in older files of this stage are dropped.
    first = step + 1 if stage == started else 0
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    _write_event(events, step=first, session_log=start)
    self._events[stage] = events
    return events


class Throughput:
  """Measures questions per second and the share of time spent on data."""

  def __init__(self, clock: Callable[[], float] = time.perf_counter):
    """Starts the first interval.

    Args:
      clock: Returns seconds; for tests.
    """
    self._clock = clock
    self._reset()

  def _reset(self) -> None:
    """Starts an interval."""
    self._start = self._clock()
    self._waited = 0.0
    self._steps = 0
    self._questions = 0

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Counts the time of a `with` block as waiting for data."""
    start = self._clock()
    yield
    self._waited += self._clock() - start

  def add(self, questions: int) -> None:
    """Counts one finished step of so many questions."""
    self._steps += 1
    self._questions += questions

  def read(self) -> dict[str, float]:
    """Ends an interval and starts the next.

    Returns:
      "questions_per_second", "seconds_per_step" and "data_wait" (a share, 0 to
      1) since the last read.
    """
    seconds = max(self._clock() - self._start, 1e-9)
    values = {
      "questions_per_second": self._questions / seconds,
      "seconds_per_step": seconds / max(self._steps, 1),
      "data_wait": self._waited / seconds,
    }
    self._reset()
    return values


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
    data 1%  eta 1m20s (on one line).
  """
  parts = [f"stage {stage}", f"step {step}/{num_steps}"]
  formats = {
    "loss": "loss {:.3f}",
    "lr": "lr {:.1e}",
    "questions_per_second": "{:.0f} q/s",
    "data_wait": "data {:.0%}",
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


def _drop_later(path: pathlib.Path, resume: tuple[int, int]) -> None:
  """Rewrites a metrics file without the lines after (stage, step)."""
  if not path.exists():
    return
  kept = []
  lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
  for number, line in enumerate(lines, 1):
    # A killed run may leave a part of its last line.
    if not line.endswith("\n"):
      break
    try:
      values = json.loads(line)
      position = (values["stage"], values["step"])
    except (ValueError, KeyError, TypeError) as error:
      raise MetricsError(
        f"{path}: line {number} is no metrics line. Move this file away, or "
        "choose another workdir."
      ) from error
    if position <= resume:
      kept.append(line)
  fresh = path.with_suffix(".tmp")
  fresh.write_text("".join(kept), encoding="utf-8")
  fresh.replace(path)


def _write_event(events: RecordWriter, **fields: object) -> None:
  """Writes one TensorBoard event with the time of now."""
  event = event_pb2.Event(wall_time=time.time(), **fields)
  events.write(event.SerializeToString())
