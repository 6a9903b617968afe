"""One start of the training command in a process of its own."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from tests import xla_flags
from tests.chaos import disk

ROOT = pathlib.Path(__file__).parents[2]

PATIENCE = 240
"""Seconds that anything may take on a loaded machine."""


class Run:
  """A training process whose output is read while it runs."""

  def __init__(self, workdir, cache, data=None):
    env = os.environ | {
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": xla_flags.quick(2),
      "JAX_COMPILATION_CACHE_DIR": str(cache),
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
      "PYTHONUNBUFFERED": "1",
    }
    env.pop("CHAOS_DATA", None)
    if data is not None:
      env["CHAOS_DATA"] = str(data)
    self.workdir = pathlib.Path(workdir)
    self._start = (workdir, cache, data)
    self._process = subprocess.Popen(
      [
        *disk.command_prefix(),
        *(sys.executable, "-m", "ltu_jax.main"),
        *("--config=tests/chaos/config.py", f"--workdir={workdir}"),
      ],
      cwd=ROOT,
      env=env,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    self.pid = self._process.pid
    self.lines: list[str] = []
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _read(self):
    for line in self._process.stdout:
      self.lines.append(line.rstrip("\n"))

  @property
  def ended(self):
    return self._process.poll() is not None

  def text(self):
    return "\n".join(self.lines)

  def wait_for(self, holds):
    """Waits until `holds()` or the process has ended; returns which."""
    end = time.monotonic() + PATIENCE
    while not holds():
      if self.ended:
        self._reader.join()
        return holds()
      if time.monotonic() > end:
        raise TimeoutError(self.text()[-3000:])
      time.sleep(0.002)
    return True

  def wait_for_step(self, stage, step):
    start = f"stage {stage}  step {step}/"
    return self.wait_for(lambda: any(x.startswith(start) for x in self.lines))

  def send(self, number):
    if not self.ended:
      os.kill(self.pid, number)

  def again(self):
    """Starts the same run once more."""
    return Run(*self._start)

  def kill(self):
    """Makes sure that it has ended."""
    self.send(signal.SIGKILL)
    self._process.wait(PATIENCE)
    self._reader.join()

  def end(self):
    """Waits for the end; returns the exit status."""
    try:
      status = self._process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
      self.send(signal.SIGKILL)
      raise TimeoutError(self.text()[-3000:]) from None
    self._reader.join()
    return status
