"""What is done on a worker of a TPU VM: unpack, install, start, stop, look.

Runs there with the system's python3 (3.8 or later), over ssh, as this one file:
it imports the standard library only. Every verb may be given twice.

A run is a process of its own session that ignores SIGHUP: no logout ends it,
nothing has to be installed for it, and no root is needed. Its supervisor writes
down how it ended and passes no signal on: when the machine goes down, systemd
sends SIGTERM (and SIGHUP) to every process of a session, and a second SIGTERM
would end the run before it has saved.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from typing import Any

SOURCE, VENV, STATE = "ltu_jax", "ltu_jax_venv", "ltu_jax_run"
"""Folders in the worker's home: checkout, environment, the run's papers."""

STATUS = "launch-status: "
"""What a line of `status` starts with; JSON follows."""

STOPPED = "Go on with:"
"""What ltu_jax.main's first process says of a run that ended on request."""

FINISHED = re.compile(r"^finished in ", re.MULTILINE)
"""What it says of one that is done; both end with status 0."""

_OLDEST = (3, 11)
"""Python that ltu_jax needs; software versions for TPUs have 3.10."""

_LAST_WORDS = 1 << 16
"""Bytes at the end of the log in which a run says how it ended."""

_PYTHONS = ("python3.11", "python3.12", "python3.13", "python3")


def main(argv: list[str] | None = None) -> int:
  """Carries out one verb; returns the exit status."""
  parser = argparse.ArgumentParser(description=__doc__)
  verbs = parser.add_subparsers(dest="verb", required=True)
  verbs.add_parser("unpack").add_argument("tar")
  verbs.add_parser("install").add_argument("extra")
  verbs.add_parser("check").add_argument("devices", type=int)
  for name in ("start", "supervise"):
    verbs.add_parser(name).add_argument("command", nargs="+")
  verbs.add_parser("stop").add_argument("seconds", type=float)
  verbs.add_parser("status")
  log = verbs.add_parser("log")
  log.add_argument("lines", type=int)
  log.add_argument("--follow", action="store_true")
  args = vars(parser.parse_args(argv))
  act = globals()["_" + args.pop("verb")]
  try:
    return act(pathlib.Path.home(), **args) or 0
  except WorkerError as error:
    print(f"error: {socket.gethostname()}: {error}", file=sys.stderr)
    return 2
  except subprocess.CalledProcessError as error:
    print(
      f"error: {socket.gethostname()}: `{' '.join(map(str, error.cmd))}` ended"
      f" with status {error.returncode}",
      file=sys.stderr,
    )
    return 2


class WorkerError(Exception):
  """What cannot be done here; the message says what to do."""


class _Run:
  """The papers of the run on this worker."""

  def __init__(self, home: pathlib.Path):
    """Finds them."""
    self.folder = home / STATE
    self.folder.mkdir(exist_ok=True)
    self.log = self.folder / "log"

  def read(self, name: str) -> Any:
    """What a paper says; None if there is none."""
    try:
      return json.loads((self.folder / name).read_text())
    except FileNotFoundError:
      return None

  def write(self, name: str, value: Any) -> None:
    """Writes a paper at once or not at all."""
    new = self.folder / (name + ".new")
    new.write_text(json.dumps(value))
    new.replace(self.folder / name)

  def process(self) -> int | None:
    """The id of the process that trains here; None if none does."""
    process = self.read("process")
    if not process or process["began"] is None:
      return None
    return process["id"] if process["began"] == _began(process["id"]) else None

  def check_idle(self, verb: str) -> None:
    """Raises if a run would be disturbed."""
    if self.process():
      raise WorkerError(
        f"a run is going on (process {self.process()}); `stop` it before"
        f" `{verb}`"
      )

  def state(self) -> dict[str, Any]:
    """In one word, and what more there is to say."""
    ended = self.read("ended")
    if self.process():
      word = "running"
    elif ended:
      word = ended["how"]
    else:
      # Killed with its supervisor, or the machine was started again.
      word = "lost" if self.read("process") else "none"
    last = [""]
    if self.log.exists():
      last = _tail(self.log, 1) or [""]
    return {
      "worker": socket.gethostname(),
      "state": word,
      "status": ended["status"] if ended else None,
      "stop_asked": self.read("stopping") is not None,
      "last": last[0].strip()[-200:],
    }


def _unpack(home: pathlib.Path, tar: str) -> None:
  """Lays a tar of the checkout over the last one; removes what is gone."""
  run = _Run(home)
  run.check_idle("sync")
  source = home / SOURCE
  source.mkdir(exist_ok=True)
  with tarfile.open(home / tar) as archive:
    names = sorted(archive.getnames())
    kwargs = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
    for name in set(run.read("files") or ()) - set(names):
      with contextlib.suppress(FileNotFoundError):
        (source / name).unlink()
    archive.extractall(source, **kwargs)
  run.write("files", names)
  (home / tar).unlink()
  print(f"{socket.gethostname()}: {len(names)} files in {source}")


def _install(home: pathlib.Path, extra: str) -> None:
  """Makes the environment, or brings it up to date."""
  _Run(home).check_idle("install")
  python = home / VENV / "bin" / "python"
  if not python.exists():
    _make_venv(home / VENV)
  words = [python, "-m", "pip", "install", "--quiet"]
  subprocess.run([*words, "--upgrade", "pip"], check=True)
  subprocess.run(
    [*words, "--editable", f".[{extra}]"], cwd=home / SOURCE, check=True
  )
  print(f"{socket.gethostname()}: installed in {home / VENV}")


def _make_venv(folder: pathlib.Path) -> None:
  """An environment of a Python that is new enough, fetched if need be."""
  for name in _PYTHONS:
    found = shutil.which(name)
    if found and _has_venv(found):
      subprocess.run([found, "-m", "venv", folder], check=True)
      return
  print(f"{socket.gethostname()}: no Python 3.11 here; fetching one with uv")
  uv = [sys.executable, "-m", "pip", "install", "--quiet", "--user", "uv"]
  subprocess.run(uv, check=True)
  uv = [sys.executable, "-m", "uv", "venv", "--seed", "--python=3.11", folder]
  subprocess.run(uv, check=True)


def _has_venv(python: str) -> bool:
  """Whether a Python is new enough and can make environments."""
  code = f"import sys, venv, ensurepip; sys.exit(sys.version_info < {_OLDEST})"
  done = subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL)
  return done.returncode == 0


def _check(home: pathlib.Path, devices: int) -> None:
  """Joins JAX's processes; says whether the whole slice is seen.

  To be run on all workers at once, with the environment's own Python.
  """
  _Run(home).check_idle("install")
  import jax

  jax.distributed.initialize()
  seen = jax.device_count()
  if devices and seen != devices:
    raise WorkerError(
      f"JAX sees {seen} of {devices} devices ({jax.devices()[0].platform}); is"
      " another program using the chips, or a worker not well (`status`)?"
    )
  print(
    f"{socket.gethostname()}: JAX sees {seen} devices, {jax.devices()[0]},"
    f" process {jax.process_index()} of {jax.process_count()}"
  )


def _start(home: pathlib.Path, command: list[str]) -> None:
  """Starts a command in the checkout that outlives this login."""
  run = _Run(home)
  if run.process():
    if run.read("command") != command:
      run.check_idle("run")
    print(f"{socket.gethostname()}: runs already, process {run.process()}")
    return
  for name in ("process", "ended", "stopping"):
    with contextlib.suppress(FileNotFoundError):
      (run.folder / name).unlink()
  run.write("command", command)
  with run.log.open("ab") as log:
    subprocess.Popen(
      [sys.executable, os.path.abspath(__file__), "supervise", "--", *command],
      cwd=home / SOURCE,
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=log,
      start_new_session=True,
    )
  end = time.monotonic() + 30
  while run.read("process") is None and run.read("ended") is None:
    if time.monotonic() > end:
      raise WorkerError(f"nothing started in 30 s; see {run.log}")
    time.sleep(0.05)
  print(f"{socket.gethostname()}: started, log in {run.log}")


def _supervise(home: pathlib.Path, command: list[str]) -> None:
  """Runs a command and writes down how it ended."""
  run = _Run(home)
  signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the command inherits that
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: None)  # and these it does not
  began = run.log.stat().st_size
  environ = dict(os.environ, PYTHONUNBUFFERED="1")
  try:
    child = subprocess.Popen(command, env=environ)
  except OSError as error:
    print(f"error: {error}", flush=True)
    run.write("ended", {"status": 127, "how": "failed"})
    return
  run.write("process", {"id": child.pid, "began": _began(child.pid)})
  status = child.wait()
  with run.log.open("rb") as log:
    log.seek(max(began, run.log.stat().st_size - _LAST_WORDS))
    text = log.read().decode(errors="replace")
  how = "ended"
  if status:
    how = "failed"
  elif STOPPED in text:
    how = "stopped"
  elif FINISHED.search(text):
    how = "finished"
  code = status if status >= 0 else 128 - status
  run.write("ended", {"status": code, "how": how})


def _stop(home: pathlib.Path, seconds: float) -> None:
  """Asks the run to save and end, once; waits for it."""
  run = _Run(home)
  host, process = socket.gethostname(), run.process()
  if not process:
    print(f"{host}: nothing runs")
    return
  if run.read("stopping") is None:  # a second SIGTERM would end it unsaved
    run.write("stopping", process)
    with contextlib.suppress(ProcessLookupError):
      os.kill(process, signal.SIGTERM)
  began, told = time.monotonic(), 0.0
  while run.state()["state"] in ("running", "lost"):
    waited = time.monotonic() - began
    if waited > seconds:
      raise WorkerError(
        f"it has not ended {seconds:.0f} s after SIGTERM; `logs` shows what it"
        " does, `stop` again waits on"
      )
    if waited - told > 10:
      told = waited
      print(f"{host}: saving, {waited:.0f} s", flush=True)
    time.sleep(0.1)
  print(f"{host}: {run.read('ended')['how']}")


def _status(home: pathlib.Path) -> None:
  """Prints one line for the machine that asks."""
  line = STATUS + json.dumps(_Run(home).state()) + "\n"
  # In one piece: the lines of several workers come together.
  os.write(1, line.encode())


def _log(home: pathlib.Path, lines: int, follow: bool) -> None:
  """Prints the end of the log, and what comes until the run has ended."""
  run = _Run(home)
  if not run.log.exists():
    raise WorkerError("there is no log; nothing was started here")
  sys.stdout.write("".join(_tail(run.log, lines)))
  sys.stdout.flush()
  with run.log.open(errors="replace") as log:
    log.seek(0, os.SEEK_END)
    while follow:
      ended = not run.process()
      text = log.read()
      sys.stdout.write(text)
      sys.stdout.flush()
      if ended and not text:
        print(f"[{run.state()['state']}]")
        return
      time.sleep(0.2)


def _tail(path: pathlib.Path, lines: int) -> list[str]:
  """The last lines of a file."""
  with path.open(errors="replace") as file:
    return list(collections.deque(file, lines))


def _began(process: int) -> int | None:
  """When a process was started, in ticks since boot; None if it is no more."""
  try:
    stat = pathlib.Path(f"/proc/{process}/stat").read_text()
  except (FileNotFoundError, ProcessLookupError):
    return None
  fields = stat.rpartition(")")[2].split()
  return None if fields[0] == "Z" else int(fields[19])


if __name__ == "__main__":
  sys.exit(main())
