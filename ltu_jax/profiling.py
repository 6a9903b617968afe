"""WORKDIR/profile: a trace of some steps, for xprof and TensorBoard.

Each process writes what it sees of its own devices to a file of its own, all
of them in one folder, which the viewer shows as one run with several hosts:
profile/plugins/profile/TIME-stage2-steps10-15/HOST-0.xplane.pb.
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

import jax

from ltu_jax import processes
from ltu_jax.bucket_scratch import shown

FOLDER = "profile"
"""Where the traces are in a run's folder."""

ANNOTATION = "train"
"""The name of each step in the trace; the number beside it is the step's."""


def parse(text: str) -> range | None:
  """Reads `config.profile.steps`.

  Args:
    text: "10:15" for the steps 10 to 15, both of them; "" for none.

  Raises:
    ValueError: it is neither.
  """
  if not text:
    return None
  found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text, re.ASCII)
  if not found or not 1 <= int(found[1]) <= int(found[2]):
    raise ValueError(f"{text!r} is not FIRST:LAST")
  return range(int(found[1]), int(found[2]) + 1)


class Profile:
  """Traces the steps that a config asks for, once in a start."""

  def __init__(
    self,
    root: pathlib.Path,
    config: Mapping[str, object],
    say: Callable[[str], None],
  ):
    """Starts nothing yet.

    Args:
      root: the run's folder.
      config: `config.profile`.
      say: prints a line.
    """
    self._folder, self._say = root / FOLDER, say
    self._wanted = parse(config["steps"])
    self._stage = config["stage"]
    self._scratch: pathlib.Path | None = None
    self._session = ""

  def begin(self, stage: int, done: int, last_step: int) -> None:
    """A stage begins or goes on.

    Args:
      stage: its number.
      done: its steps that are done.
      last_step: its last.
    """
    if self._wanted is None or self._stage not in (-1, stage):
      return
    self._stage = stage
    if not done < self._wanted.start <= last_step:
      self._say(
        f"stage {stage}: config.profile.steps {self._span(':')} are not traced:"
        f" this start goes from step {done + 1} to {last_step}"
      )
      self._wanted = None
      return
    # One name in all processes, and a new one for each start: the viewer keeps
    # what it has made of a trace beside it.
    now = processes.gather(time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))[0]
    self._session = f"{now}-stage{stage}-steps{self._span('-')}"

  def starts(self, stage: int, step: int) -> bool:
    """Whether tracing is to start before this step."""
    wanted = self._wanted
    return wanted is not None and (stage, step) == (self._stage, wanted[0])

  def ends(self, step: int) -> bool:
    """Whether tracing is to end after this step."""
    return self._scratch is not None and step == self._wanted[-1]

  def start(self) -> None:
    """Starts tracing."""
    self._scratch = pathlib.Path(tempfile.mkdtemp(prefix="ltu-jax-profile-"))
    options = jax.profiler.ProfileOptions()
    # Python's own calls are many, and bury the rest.
    options.python_tracer_level = 0
    options.session_id = self._session
    jax.profiler.start_trace(self._scratch, profiler_options=options)

  def step(self, number: int) -> contextlib.AbstractContextManager:
    """Marks what a `with` block does as a step's, where it is traced."""
    if self._scratch is None:
      return contextlib.nullcontext()
    return jax.profiler.StepTraceAnnotation(ANNOTATION, step_num=number)

  def stop(self) -> None:
    """Ends tracing, if it is on, and writes the files."""
    if self._scratch is None:
      return
    scratch, self._scratch, self._wanted = self._scratch, None, None
    try:
      jax.profiler.stop_trace()
      out = self._write(scratch)
      self._say(
        f"traced {self._session}: look at it with xprof --logdir={shown(out)}"
      )
    except OSError as error:
      # A trace is no reason to end a run.
      print(
        f"{shown(self._folder)}: the trace cannot be written"
        f" ({error.strerror})",
        file=sys.stderr,
        flush=True,
      )
    finally:
      shutil.rmtree(scratch, ignore_errors=True)

  def _write(self, scratch: pathlib.Path) -> pathlib.Path:
    """Moves this process's files to the run's folder; returns that."""
    # Several processes may be on one host, and then have one name.
    name = f"{socket.gethostname()}-{jax.process_index()}"
    out = self._folder / "plugins" / "profile" / self._session
    out.mkdir(parents=True, exist_ok=True)
    for path in (scratch / "plugins" / "profile").glob("*/*.xplane.pb"):
      fresh = out / f"{name}.tmp"
      shutil.copyfile(path, fresh)
      os.replace(fresh, out / f"{name}.xplane.pb")
    return self._folder

  def _span(self, between: str) -> str:
    """The steps that are wanted, in words."""
    return f"{self._wanted[0]}{between}{self._wanted[-1]}"
