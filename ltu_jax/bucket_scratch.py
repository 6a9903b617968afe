"""A run whose --workdir is in a bucket: what lies where, and what is copied.

Checkpoints, which are large and lie on many devices, are written into the
bucket by Orbax itself, and read from there. A bucket has no rename, so Orbax
writes `commit_success.txt` into a checkpoint last: what lacks it is no
checkpoint, and is removed.

All else is small and is written by the code that writes it on a disk: into a
scratch folder of the process's own machine, which is copied to the bucket
object by object, each whole. That is done (`push`)

  before every checkpoint, which is not made if it fails: so all that a
    checkpoint follows on is in the bucket before it, as on a disk;
  once a minute, for who looks on (an object cannot be appended to, so a file
    that grew is sent again: metrics.jsonl has some 5 MB at the end of LTU);
  at the end, also at that of an error.

A start fetches (`pull`) what it goes on from: the files at the top. What a
killed run had written since its last push is gone, and is of steps that are
made again.

The other way, a whole run in a scratch folder that is copied to the bucket,
needs a disk that all hosts share, as each writes its part of a checkpoint.
"""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import weakref

from ltu_jax.bucket_store import BucketError, Store
from ltu_jax.data.bucket import is_bucket

_PUSH_SECONDS = 60
"""Between two looks at what has changed."""

_ELSEWHERE = ("checkpoints/", "base/")
"""What is written into the bucket itself."""

_LOCK = "lock"

_scratches: dict[str, str] = {}
"""From the scratch folders of this process to the addresses they stand for."""

_fetched: list["Scratch"] = []
"""What was fetched to be read."""


def shown(text: object) -> str:
  """A message, or a path, with the names that files have in the bucket."""
  text = str(text)
  for folder, address in _scratches.items():
    text = text.replace(folder, address)
  return text


def fetched(folder: str | os.PathLike, *within: str) -> pathlib.Path:
  """A folder on this machine with the files that are at the top of another.

  Args:
    folder: A folder of this machine, which is returned; or one in a bucket,
      whose files stay here until the process ends.
    *within: Folders in it whose files are wanted, too.

  Raises:
    BucketError: It cannot be read.
  """
  if not is_bucket(folder):
    return pathlib.Path(folder)
  scratch = Scratch(folder, is_first=False)
  _fetched.append(scratch)
  for name in within:
    for file in scratch.store.walk(f"{name}/"):
      (scratch.folder / file).parent.mkdir(parents=True, exist_ok=True)
      (scratch.folder / file).write_bytes(scratch.store.read(file)[0])
  return scratch.folder


class Scratch:
  """The small files of a run in a bucket.

  An object is only written over if it is the one that this process knows, so a
  run that was suspended while another took its place spoils nothing.

  Attributes:
    folder: Where they are on this machine; goes with the object.
    store: The bucket's folder.
  """

  def __init__(self, address: str | os.PathLike, *, is_first: bool = True):
    """Fetches the files.

    Args:
      address: gs://BUCKET/FOLDER.
      is_first: Whether this is the first of a run's processes. The others write
        nothing but a few files of their own, at the top.

    Raises:
      BucketError: It cannot be read.
    """
    self.store = Store(address)
    self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ltu_jax-"))
    _scratches[str(self.folder)] = self.store.address
    self._is_first = is_first
    self._turn = threading.Lock()
    self._generations: dict[str, int] = {}
    self._stamps: dict[str, tuple[int, int]] = {}
    self._remove = weakref.finalize(
      self, shutil.rmtree, self.folder, ignore_errors=True
    )
    self.pull()

  def pull(self) -> None:
    """Fetches what is at the top and is new, and learns what else is there.

    Raises:
      BucketError: It cannot be read.
    """
    with self._turn:
      there, folders = self.store.children()
      for name, generation in there.items():
        if name != _LOCK and self._generations.get(name) != generation:
          content, self._generations[name] = self.store.read(name)
          fresh = self.folder / f"{name}.tmp"
          fresh.write_bytes(content)
          fresh.replace(self.folder / name)
          self._stamps[name] = _stamp(self.folder / name)
      if self._is_first:
        for folder in set(folders) - set(_ELSEWHERE):
          self._generations |= self.store.walk(folder)

  def push(self) -> str:
    """Sends what has changed.

    Returns:
      Why not all is in the bucket; "" if it is.
    """
    with self._turn:
      try:
        for name in self._changed():
          self._send(name)
      except (BucketError, OSError) as error:
        return str(error)
    return ""

  @contextlib.contextmanager
  def pushing(self):
    """Sends once a minute what has changed, and at the end of the block.

    What cannot be sent at the end stays in the scratch folder, and that is
    told.
    """
    stop = threading.Event()

    def push() -> None:
      while not stop.wait(_PUSH_SECONDS):
        self.push()  # what fails is told at the next checkpoint

    thread = threading.Thread(target=push, name="bucket", daemon=True)
    thread.start()
    try:
      yield
    finally:
      stop.set()
      thread.join()
      if problem := self.push():
        self._remove.detach()
        print(
          f"{problem}: what could not be sent to the bucket is in"
          f" {self.folder}",
          file=sys.stderr,
          flush=True,
        )

  def _changed(self) -> list[str]:
    """Files that are not those in the bucket, as far as is known."""
    files = self.folder.rglob("*") if self._is_first else self.folder.glob("*")
    names = []
    for file in sorted(files):
      name = file.relative_to(self.folder).as_posix()
      has_content = file.is_file() and file.stat().st_size
      is_whole = has_content and ".tmp/" not in f"{name}/"
      if is_whole and self._stamps.get(name) != _stamp(file):
        names.append(name)
    return names

  def _send(self, name: str) -> None:
    """Writes one object."""
    file = self.folder / name
    stamp = _stamp(file)  # before: what is written while it is read goes next
    self._generations[name] = self.store.write(
      name, file.read_bytes(), self._generations.get(name, 0)
    )
    self._stamps[name] = stamp


def _stamp(file: pathlib.Path) -> tuple[int, int]:
  """Changes when a file does."""
  found = file.stat()
  return found.st_mtime_ns, found.st_size
