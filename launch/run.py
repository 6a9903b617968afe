"""The run on all workers: send the code, install, start, look, stop."""

import dataclasses
import json
import pathlib
import re
import shlex
import subprocess
from collections.abc import Sequence

from launch import checkout, on_worker
from launch.gcloud import Gcloud, GcloudError, tell
from launch.settings import Settings, SettingsError

_TAR = "ltu_jax.tar.gz"
_SCRIPT = f"{on_worker.SOURCE}/launch/on_worker.py"


@dataclasses.dataclass(frozen=True)
class Seen:
  """What the workers say of a run.

  Attributes:
    states: A word for each that answered; see `on_worker`.
    statuses: The exit status of each that has ended.
    stop_asked: Whether `stop` was given.
    last: The last line of a log.
    problem: Why some did not answer; "" if all did.
  """

  states: tuple[str, ...] = ()
  statuses: tuple[int, ...] = ()
  stop_asked: bool = False
  last: str = ""
  problem: str = ""

  def how(self, workers: int) -> str:
    """In one word, of all workers.

    A run is finished if all ended with status 0 and none of them says that it
    was stopped: the first process speaks for all.
    """
    if len(self.states) < workers:
      return "unreachable"
    states = set(self.states)
    if states == {"none"}:
      return "none"
    if "running" in states:
      return "running" if states == {"running"} else "breaking"
    for state in ("failed", "lost", "none", "stopped"):
      if state in states:
        return "lost" if state == "none" else state
    return "finished"


class Run:
  """The run of the machine that the settings name."""

  def __init__(self, settings: Settings, gcloud: Gcloud):
    """Keeps where, and how to reach it."""
    self._settings, self._gcloud = settings, gcloud

  def pack(self, folder: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
    """Packs the checkout, once for all machines that a run will have.

    Returns:
      The file for `send`.
    """
    self._gcloud.show(checkout.LIST)
    tar = to / _TAR
    if self._gcloud.dry_run:
      print(f"# these are packed into {tar}")
    else:
      number = checkout.pack(folder, tar)
      tell(f"{number} files, {tar.stat().st_size / 1e6:.1f} MB")
    return tar

  def send(self, tar: pathlib.Path) -> None:
    """Lays a packed checkout onto all workers."""
    self._gcloud.scp(str(tar), _TAR)
    # The file brings the program that unpacks it.
    self._gcloud.ssh(
      f"set -eo pipefail; tar -xzOf {_TAR} launch/on_worker.py |"
      f" python3 - unpack {_TAR}"
    )

  def install(self) -> None:
    """Installs on all workers; checks that JAX sees the whole slice."""
    self._gcloud.ssh(_on_worker("install", "tpu"))
    devices = str(self._settings.num_devices() or 0)
    python = f"{on_worker.VENV}/bin/python"
    self._gcloud.ssh(_on_worker("check", devices, python=python))

  def start(self, command: Sequence[str]) -> None:
    """Starts a command of `main_command` on all workers."""
    self._gcloud.ssh(_on_worker("start", "--", *command))

  def stop(self, seconds: float) -> None:
    """Asks the run to save and end; returns when it has."""
    self._gcloud.ssh(_on_worker("stop", str(seconds)))

  def log(self, worker: str, lines: int, follow: bool) -> None:
    """Shows a worker's log."""
    more = ["--follow"] if follow else []
    self._gcloud.ssh(_on_worker("log", str(lines), *more), worker)

  def seen(self, *, loud: bool = True) -> Seen:
    """Asks all workers; those that do not answer are left out.

    Raises:
      GcloudError: The fault is not a worker's.
    """
    command = f"if [ -e {_SCRIPT} ]; then {_on_worker('status')}"
    none = on_worker.STATUS + json.dumps({"state": "none"})
    command += f"; else echo {shlex.quote(none)}; fi"
    words = self._gcloud.ssh_words("all", command, quiet=True)
    if loud:
      self._gcloud.show(words)
    if self._gcloud.dry_run:
      return Seen()
    problem = ""
    try:
      output = self._gcloud.run(words, loud=False)
    except GcloudError as error:
      if error.kind not in ("", "ssh"):
        raise
      output, problem = error.output, str(error)
    told = [
      json.loads(line.removeprefix(on_worker.STATUS))
      for line in output.splitlines()
      if line.startswith(on_worker.STATUS)
    ]
    statuses = [one.get("status") for one in told]
    return Seen(
      states=tuple(one["state"] for one in told),
      statuses=tuple(status for status in statuses if status is not None),
      stop_asked=any(one.get("stop_asked") for one in told),
      last=max((one.get("last", "") for one in told), key=len, default=""),
      problem=problem,
    )

  def shell(self, worker: str, command: Sequence[str]) -> int:
    """Opens a shell on a worker, or runs a command; returns its status."""
    words = self._gcloud.ssh_words(worker, shlex.join(command))
    self._gcloud.show(words)
    if self._gcloud.dry_run:
      return 0
    try:
      return subprocess.run(words).returncode
    except FileNotFoundError:
      # For the sentence that says how to install it.
      self._gcloud.run(words, loud=False)
      raise


def main_command(
  settings: Settings, given: Sequence[str], environ: Sequence[str] = ()
) -> list[str]:
  """The command of a run on each worker, in the folder of the checkout.

  Args:
    settings: Its bucket gives the places that are not given.
    given: Flags of ltu_jax.main.
    environ: KEY=VALUE for its environment.

  Raises:
    SettingsError: A place is missing, or a word is none of these.
  """
  if not _has(given, "config"):
    raise SettingsError(
      "--config is missing; give ltu_jax.main's flags after --, such as"
      " -- --config=configs/stage4.py:7b"
    )
  flags, variables = list(given), []
  if settings.bucket:
    root = f"gs://{settings.bucket}"
    variables.append(f"JAX_COMPILATION_CACHE_DIR={root}/compiled")
    if not _has(given, "workdir"):
      settings.need("name")
      flags.append(f"--workdir={root}/runs/{settings.name}")
    if not _has(given, "config.data.dir"):
      flags.append(f"--config.data.dir={root}/tfds")
  elif not _has(given, "workdir"):
    raise SettingsError(
      "--workdir is missing; give it after --, or a --bucket for its default"
    )
  for word in environ:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*=.*", word, re.DOTALL):
      raise SettingsError(f"--set={word} is not KEY=VALUE")
  python = f"../{on_worker.VENV}/bin/python"
  # Later variables win: those that were given.
  return ["env", *variables, *environ, python, "-m", "ltu_jax.main", *flags]


def _has(flags: Sequence[str], name: str) -> bool:
  """Whether a flag is among them."""
  pattern = re.compile(rf"--?{re.escape(name)}(=.*)?", re.DOTALL)
  return any(pattern.fullmatch(flag) for flag in flags)


def _on_worker(*words: str, python: str = "python3") -> str:
  """The shell command of one of on_worker's verbs."""
  return shlex.join([python, _SCRIPT, *words])
