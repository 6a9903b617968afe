"""A disk that can be filled and closed while a run writes to it."""

import contextlib
import os
import pathlib
import resource
import shutil
import subprocess

_MEGABYTES = 96

_WITHOUT_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


class Disk:
  """A folder of its own; a small tmpfs where this user may mount one.

  Elsewhere a full disk is played by a limit on the size of files, which is an
  error of the same calls.
  """

  def __init__(self, folder):
    self.folder = pathlib.Path(folder)
    self.folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "tmpfs"]
    done = subprocess.run(
      [*command, str(self.folder)], capture_output=True, check=False
    )
    self.is_tmpfs = done.returncode == 0

  @contextlib.contextmanager
  def full(self, run):
    """No byte can be written in this block."""
    if not self.is_tmpfs:
      with _limited(run.pid):
        yield
      return
    filler = self.folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
      while True:
        file.write(bytes(4096))
    try:
      yield
    finally:
      filler.unlink()

  @contextlib.contextmanager
  def read_only(self, run):
    """No file can be made in the folders of checkpoints in this block."""
    folders = [p for p in run.workdir.glob("checkpoints/*") if p.is_dir()]
    for folder in folders:
      folder.chmod(0o555)
    try:
      yield
    finally:
      for folder in folders:
        folder.chmod(0o755)

  def close(self):
    """Removes all."""
    if self.is_tmpfs:
      subprocess.run(["umount", "-l", str(self.folder)], check=False)
    shutil.rmtree(self.folder, ignore_errors=True)


def command_prefix():
  """What makes permissions count for root too."""
  return _WITHOUT_OVERRIDE if os.getuid() == 0 else ()


@contextlib.contextmanager
def _limited(pid):
  """No file of a process can grow."""
  old = None
  with contextlib.suppress(ProcessLookupError):
    old = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, old[1]))
  try:
    yield
  finally:
    with contextlib.suppress(ProcessLookupError):
      if old:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, old)
