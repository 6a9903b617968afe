"""A made-up cloud: gcloud's stand-in, and a small checkout to train there."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import gcloud_stand_in
from launch import checkout, tpu_vm

FLAGS = ["--project=p", "--zone=us-central2-b", "--type=v4-16", "--name=ltu"]
"""A machine of two workers, eight devices."""

_MAIN = """
import json, os, pathlib, signal, sys, time
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
folder = pathlib.Path(flags["workdir"])
me = pathlib.Path(os.environ["HOME"]).name
asked = []
def take(number, frame):
  if asked:
    os._exit(128 + number)
  asked.append(number)
signal.signal(signal.SIGTERM, take)
told = {"argv": sys.argv[1:], "set": os.environ.get("SET"),
        "cache": os.environ.get("JAX_COMPILATION_CACHE_DIR")}
(folder / f"told{me}").write_text(json.dumps(told))
with (folder / f"starts{me}").open("a") as starts:
  starts.write("x")
hup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
print("training", "with SIGHUP ignored" if hup else "", me)
while not (folder / "go").exists():
  time.sleep(0.02)
  if asked:
    time.sleep(0.3)
    (folder / f"saved{me}").touch()
    if me == "0":
      print("SIGTERM: saved. Go on with:\\n  python -m ltu_jax.main")
    sys.exit()
  if (folder / "status").exists():
    print("error: it broke", file=sys.stderr)
    sys.exit(int((folder / "status").read_text()))
if me == "0":
  print("finished in 3 s")
"""
"""What is started in ltu_jax.main's place; it says the same at its end. The
first worker alone speaks, as there."""

_PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m pip" ]; then echo "$@" >> "$HOME/pip"; exit; fi
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit
fi
PYTHONPATH='{stubs}' exec '{python}' -sS "$@"
"""
"""A Python in which pip and venv cost nothing."""

_JAX = """
import pathlib
class distributed:
  initialize = staticmethod(lambda: None)
device_count = lambda: int(pathlib.Path(__file__).with_name("n").read_text())
devices = lambda: [type("D", (), {"platform": "tpu"})]
process_index = process_count = lambda: 2
"""


class Cloud:
  """Attributes:
  folder: All that there is.
  checkout: A small one, in the place of this.
  workdir: A folder that outlives machines, as a bucket does.
  """

  def __init__(self, folder, monkeypatch):
    self.folder = folder / "cloud"
    self.checkout, self.workdir = folder / "checkout", folder / "work dir"
    for path in (self.folder, self.workdir, self.checkout):
      path.mkdir()
    self._make_programs()
    self._make_checkout()
    path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("STAND_IN", str(self.folder))
    monkeypatch.setattr(checkout, "ROOT", self.checkout)

  def _make_programs(self):
    stubs = self.folder / "stubs"
    stubs.mkdir()
    (stubs / "jax.py").write_text(_JAX)
    (stubs / "n").write_text("8")
    python = _PYTHON.format(stubs=stubs, python=sys.executable)
    stand_in = f"'{sys.executable}' -ES '{gcloud_stand_in.__file__}'"
    programs = {
      "bin/gcloud": f'#!/bin/sh\nexec {stand_in} "$@"\n',
      "worker_bin/python3": python,
      "worker_bin/python3.11": python,
    }
    for name, text in programs.items():
      path = self.folder / name
      path.parent.mkdir(exist_ok=True)
      path.write_text(text)
      path.chmod(0o755)

  def _make_checkout(self):
    package = self.checkout / "ltu_jax"
    package.mkdir()
    (package / "main.py").write_text(_MAIN)
    (self.checkout / "launch").mkdir()
    shutil.copy(
      checkout.__file__.replace("checkout", "on_worker"),
      self.checkout / "launch",
    )
    (self.checkout / ".gitignore").write_text("runs\n")
    subprocess.run(["git", "init", "-q"], cwd=self.checkout, check=True)

  def __call__(self, *argv, sleep=time.sleep):
    """The CLI with a machine's flags; its status."""
    verb, *rest = argv
    return tpu_vm.main([verb, *FLAGS, *rest], sleep=sleep)

  def run(self, verb, *more, flags=(), **kwargs):
    """`run` or `up` of a run in the work folder."""
    main = ["--config=c.py", f"--workdir={self.workdir}", *more]
    return self(verb, *flags, "--", *main, **kwargs)

  def home(self, worker):
    return self.folder / "homes" / "ltu" / str(worker)

  def told(self, worker):
    """What the run on a worker was given."""
    return json.loads((self.workdir / f"told{worker}").read_text())

  def wait_starts(self, number):
    """Waits until the run has been started so often on both workers."""
    end = time.monotonic() + 20
    for worker in (0, 1):
      while len(self.wait(f"starts{worker}").read_text()) < number:
        assert time.monotonic() < end
        time.sleep(0.02)

  def starts(self):
    return len((self.workdir / "starts0").read_text())

  def wait(self, name):
    """Waits for a file in the work folder."""
    path, end = self.workdir / name, time.monotonic() + 20
    while not path.exists():
      assert time.monotonic() < end, f"no {name}"
      time.sleep(0.02)
    return path

  def wait_ended(self):
    """Waits until the workers' papers say how the run ended."""
    for worker in (0, 1):
      self.wait(self.home(worker) / "ltu_jax_run" / "ended")

  def calls(self, part=""):
    """The commands of gcloud so far, those with `part`."""
    lines = (self.folder / "calls.jsonl").read_text().splitlines()
    return [c for c in map(json.loads, lines) if part in " ".join(c)]

  @contextlib.contextmanager
  def state(self):
    """The cloud's own state, to be changed."""
    path = self.folder / "state.json"
    state = json.loads(json.dumps(gcloud_stand_in.EMPTY))
    if path.exists():
      state = json.loads(path.read_text())
    yield state
    path.write_text(json.dumps(state))

  def fault(self, command, says, times=1, status=1):
    """The next such commands fail."""
    fault = {"command": command, "says": says}
    with self.state() as state:
      state["faults"].append(fault | {"times": times, "status": status})

  def take_away(self):
    """Preempts the machine: no process lives on, no disk can be read."""
    with self.state() as state:
      state["nodes"]["ltu"]["state"] = "PREEMPTED"
    self.kill()

  def kill(self):
    """Kills all that runs on workers, supervisors first."""
    for paper in self.folder.glob("homes/*/*/ltu_jax_run/process"):
      process = json.loads(paper.read_text())["id"]
      with contextlib.suppress(ProcessLookupError, PermissionError):
        stat = pathlib.Path(f"/proc/{process}/stat")
        if stat.exists() and str(self.workdir) in _words(process):
          parent = int(stat.read_text().rpartition(")")[2].split()[1])
          if "supervise" in _words(parent):
            os.kill(parent, signal.SIGKILL)
          os.kill(process, signal.SIGKILL)


def _words(process):
  """A process's command line."""
  try:
    return pathlib.Path(f"/proc/{process}/cmdline").read_text()
  except FileNotFoundError:
    return ""
