"""Runs gcloud: prints each command, explains what it complains of.

The words that errors are known by are those of gcloud 528 and of Google's API;
what matches none is shown as it came.
"""

import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

from launch.settings import Settings

_KEPT_BYTES = 1 << 16
"""Of what a command writes to standard error, what is kept to explain it."""

_SSH_TRIES = 3
"""gcloud itself tries ten times to connect; so often is it started."""

_SSH_FAILED = 255
"""ssh's own status where there is no connection."""

_ADVICE = (
  (
    # First: gcloud may add that one should log in.
    "network",
    r"gcloud crashed \((Connection|Transport|Timeout|SSL)"
    r"|[Uu]nable to find the server|Max retries exceeded"
    r"|Failed to resolve|Name or service not known|Network is unreachable",
    "is there a way to Google's servers from here?",
  ),
  (
    "login",
    r"active account selected|gcloud auth login|Reauthentication"
    r"|invalid_grant",
    "log in: gcloud auth login",
  ),
  (
    "api",
    r"SERVICE_DISABLED|API has not been used|accessNotConfigured",
    "switch the API on: gcloud services enable tpu.googleapis.com"
    " compute.googleapis.com --project=PROJECT",
  ),
  (
    "quota",
    r"[Qq]uota",
    "the project may not have so many chips of this kind in this zone. Ask for"
    " quota (https://console.cloud.google.com/iam-admin/quotas, service Cloud"
    " TPU API; spot machines have their own), or take another --type or --zone",
  ),
  (
    "capacity",
    r"no more capacity|not enough resources|RESOURCE_EXHAUSTED"
    r"|resource pool exhausted|insufficient capacity",
    "Google has none free now. Wait in its queue (--queued-resource), try again"
    " by itself (up --keep-alive), or take another --zone or --type",
  ),
  (
    "key",
    r"not present in the SSH agent",
    "for several workers the key has to be in the agent: eval $(ssh-agent) &&"
    " ssh-add ~/.ssh/google_compute_engine",
  ),
  (
    "permission",
    r"PERMISSION_DENIED|Permission denied on|Required '.*' permission",
    "the account needs roles/tpu.admin in the project, and"
    " roles/iam.serviceAccountUser on the service account; or the zone or the"
    " project has another name (gcloud compute tpus locations list)",
  ),
  ("absent", r"NOT_FOUND|was not found", ""),
  ("exists", r"ALREADY_EXISTS|already exists", ""),
  (
    "ssh",
    r"exited with return code \[255\]|Connection (refused|timed out|closed)",
    "a worker could not be reached by ssh. A machine that has just started"
    " needs a minute; else see the firewall rule of port 22, and `status`",
  ),
)


class GcloudError(Exception):
  """A command of gcloud that failed.

  Attributes:
    kind: What it was, such as "quota" and "capacity"; "" if it is not known.
    output: What the command had written until then, where that was kept.
  """

  def __init__(self, kind: str, message: str, output: str = ""):
    """Keeps all three."""
    super().__init__(message)
    self.kind, self.output = kind, output


class Gcloud:
  """Runs commands for one project and zone.

  Attributes:
    dry_run: Whether commands are only printed.
  """

  def __init__(
    self,
    settings: Settings,
    *,
    dry_run: bool = False,
    sleep: Callable[[float], None] = time.sleep,
  ):
    """Keeps where, and how to wait between tries."""
    self._settings, self.dry_run, self._sleep = settings, dry_run, sleep

  def tpus(self, *words: str) -> list[str]:
    """The words of `gcloud compute tpus ...` in the project and zone."""
    place = [
      f"--zone={self._settings.zone}",
      f"--project={self._settings.project}",
    ]
    return ["gcloud", "compute", "tpus", *words, *place]

  def show(self, command: Sequence[str]) -> None:
    """Prints a command so that it can be copied into a shell."""
    out = sys.stdout if self.dry_run else sys.stderr
    print(shlex.join(command), file=out, flush=True)

  def run(self, command: Sequence[str], *, loud: bool = True) -> str:
    """Runs a command to its end.

    Args:
      command: Its words.
      loud: Whether it is printed, and what it writes is shown; else that is
        returned.

    Returns:
      Its standard output; "" where that was shown, or in a dry run.

    Raises:
      GcloudError: It failed, or there is no such program.
    """
    if loud or self.dry_run:
      self.show(command)
    if self.dry_run:
      return ""
    status, output, complaint = _run(command, loud)
    if status:
      raise _explained(command, status, complaint, output)
    return output

  def ssh(self, command: str, worker: str = "all", *, loud: bool = True) -> str:
    """Runs a shell command on workers; one that may be run twice.

    Args:
      command: What the login shell there is given.
      worker: Its number, or "all".
      loud: See `run`.

    Raises:
      GcloudError: It failed on some worker.
    """
    words = self.ssh_words(worker, command, quiet=True)
    for left in reversed(range(_SSH_TRIES)):
      try:
        return self.run(words, loud=loud)
      except GcloudError as error:
        if error.kind != "ssh" or not left:
          raise
        tell("a worker could not be reached; again in 10 s")
        self._sleep(10)
    raise AssertionError

  def ssh_words(
    self, worker: str, command: str = "", *, quiet: bool = False
  ) -> list[str]:
    """The words of an ssh to workers; without a command, a shell."""
    words = self.tpus("tpu-vm", "ssh", self._settings.name)
    words += [*self._internal(), *(["--quiet"] if quiet else [])]
    words += [f"--worker={worker}"]
    return words + ([f"--command={command}"] if command else [])

  def scp(self, source: str, name: str) -> None:
    """Copies a file into the home folders of all workers, as `name`."""
    target = f"{self._settings.name}:{name}"
    words = self.tpus("tpu-vm", "scp", source, target)
    self.run([*words, *self._internal(), "--quiet", "--worker=all"])

  def _internal(self) -> list[str]:
    """The flag that goes through the network's own addresses."""
    return ["--internal-ip"] if self._settings.internal_ips else []


def tell(text: str) -> None:
  """Prints a line about what goes on."""
  print(f"launch: {text}", file=sys.stderr, flush=True)


def _run(command: Sequence[str], loud: bool) -> tuple[int, str, str]:
  """Runs; returns status, output, and the end of standard error."""
  try:
    process = subprocess.Popen(
      command,
      stdin=subprocess.DEVNULL,  # nobody may be there to answer
      stdout=None if loud else subprocess.PIPE,
      stderr=subprocess.PIPE,
    )
  except FileNotFoundError as error:
    raise GcloudError(
      "missing",
      f"{command[0]} is not installed; see"
      " https://cloud.google.com/sdk/docs/install",
    ) from error
  kept = bytearray()
  reader = threading.Thread(target=_tee, args=(process.stderr, kept, loud))
  with process:
    reader.start()
    output = process.stdout.read() if process.stdout else b""
    status = process.wait()
    reader.join()
  return status, output.decode(errors="replace"), kept.decode(errors="replace")


def _tee(stream: IO[bytes], kept: bytearray, loud: bool) -> None:
  """Keeps the end of what is written, and shows it as it comes."""
  while some := os.read(stream.fileno(), 4096):
    kept += some
    del kept[:-_KEPT_BYTES]
    if loud:
      sys.stderr.write(some.decode(errors="replace"))
      sys.stderr.flush()


def _explained(
  command: Sequence[str], status: int, complaint: str, output: str
) -> GcloudError:
  """The error of a command that failed.

  Only what gcloud itself says is looked at; a command on a worker may say
  anything.
  """
  found = re.search(r"^ERROR: \(?gcloud.*", complaint, re.DOTALL | re.MULTILINE)
  own = found[0].strip() if found else ""
  kind, advice = "", ""
  for name, pattern, text in _ADVICE:
    if re.search(pattern, own) or (name == "ssh" and status == _SSH_FAILED):
      kind, advice = name, text
      break
  lines = complaint.strip().splitlines() or [""]
  errors = [line for line in lines if line.startswith("error: ")]
  told = own or (errors or lines)[-1]
  what = " ".join(word for word in command[:5] if not word.startswith("-"))
  message = f"`{what}` ended with status {status}"
  if told:
    message += f": {told}"
  return GcloudError(kind, f"{message}\n{advice}".strip(), output)
