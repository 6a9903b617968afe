"""Who holds a folder: what stands in WORKDIR/lock."""

import dataclasses
import datetime
import functools
import json
import os
import pathlib
import secrets
import shlex
import socket
import sys

from ltu_jax import json_text

LENGTH = 1024
"""Bytes of the content: writing it again in place needs no room on the disk."""

_COMMAND = 300
"""Characters of the command that are kept, so that all fits."""


@dataclasses.dataclass(frozen=True)
class Holder:
  """A process that holds a folder.

  Attributes:
    host: Name of its machine.
    boot_id: Which start of which kernel it runs on.
    pid: Number of the process.
    started: When it took the folder, ISO 8601, UTC.
    command: Its command line.
    token: Random; no two holders have the same.
    beat: Counts up while it lives.
  """

  host: str
  boot_id: str
  pid: int
  started: str
  command: str
  token: str
  beat: int = 0

  @classmethod
  def here(cls) -> "Holder":
    """This process, with a new token."""
    now = datetime.datetime.now(datetime.UTC)
    command = shlex.join(sys.orig_argv)[:_COMMAND]
    return cls(
      host=socket.gethostname(),
      boot_id=_boot_id(),
      pid=os.getpid(),
      started=now.isoformat(timespec="seconds"),
      command=command.encode("ascii", "replace").decode(),
      token=secrets.token_hex(16),
    )

  @classmethod
  def decode(cls, content: bytes) -> "Holder | None":
    """The inverse of `encode`; None for an empty file.

    Raises:
      ValueError: It is not such a content.
    """
    # A machine that crashed may leave zeros where it had not written yet.
    if not content.strip(b"\0 \n"):
      return None
    found = json_text.parse(content)
    if not isinstance(found, dict):
      raise ValueError("not a JSON object")
    fields = {field.name: field.type for field in dataclasses.fields(cls)}
    for name, kind in fields.items():
      if not isinstance(found.get(name), kind):
        raise ValueError(f"{name} is missing or wrong")
    if not 0 < found["pid"] < 1 << 31:
      raise ValueError("pid is not a process's number")
    return cls(**{name: found[name] for name in fields})

  def encode(self) -> bytes:
    """The content of the file, always `LENGTH` bytes: a line of JSON."""
    line = json.dumps(dataclasses.asdict(self)).encode()
    return line.ljust(LENGTH - 1) + b"\n"

  @property
  def is_same_machine(self) -> bool:
    """Whether it runs, or ran, under the kernel of this process."""
    return self.boot_id == _boot_id()

  @property
  def is_alive(self) -> bool:
    """Whether a process of its number runs on this machine."""
    try:
      os.kill(self.pid, 0)
    except ProcessLookupError:
      return False
    except PermissionError:  # somebody else's
      return True
    return True

  def __str__(self) -> str:
    """Such as: process 7 on host a (python x.py), since 2026-01-01T00:00:00."""
    return (
      f"process {self.pid} on host {self.host} ({self.command}), since"
      f" {self.started}"
    )


@functools.cache
def _boot_id() -> str:
  """Tells machines apart that have the same name, and a machine's starts."""
  try:
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
  except OSError:  # not Linux
    return f"host {socket.gethostname()}"
