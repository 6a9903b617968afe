"""The objects below gs://BUCKET/FOLDER, and what a bucket answers, in words.

An object is written whole or not at all, and every write can be tied to the
object's generation: it is refused if somebody else wrote in between. The lock
of a run and the copies of its small files are kept right by that alone.

The library is Google's own, which gcsfs brings; it is imported when a bucket is
first used. It repeats what fails for a while by itself.
"""

import contextlib
import importlib.util
import logging
import os
import pathlib
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

from ltu_jax.data.bucket import SCHEME, is_bucket

_SECONDS = 60
"""How long one answer may take."""

_THREADS = 16
"""Objects that are copied or removed at a time."""

_ROLES = "roles/storage.objectUser and roles/storage.legacyBucketReader"
"""The second has storage.buckets.get, which Orbax needs to open a folder."""


class BucketError(ValueError):
  """A bucket that is not there, or that does not do what is asked of it."""


class ChangedError(BucketError):
  """An object that somebody else has written, made or removed meanwhile."""


def path(folder: str | os.PathLike) -> Any:
  """A folder or file of this machine or of a bucket, as a path.

  Args:
    folder: Its name, or address.

  Returns:
    An absolute pathlib.Path, or an etils.epath.Path, which reads the same.

  Raises:
    BucketError: It is an address of another kind, or gcsfs is missing.
  """
  name = os.fspath(folder)
  if not is_bucket(name):
    if "://" in name:
      raise BucketError(
        f"{name}: only folders of this machine and {SCHEME}BUCKET/FOLDER can be"
        " read and written"
      )
    return pathlib.Path(name).absolute()
  if importlib.util.find_spec("gcsfs") is None:
    raise BucketError(
      f"{name}: a bucket needs gcsfs; install it with: pip install"
      " 'ltu-jax[gcs]'"
    )
  import fsspec
  from etils import epath

  # As in __init__.py, for a process that had imported fsspec before it.
  fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
  # It tells at every call if it may not ask for a bucket's kind.
  logging.getLogger("gcsfs").setLevel(logging.ERROR)
  return epath.Path(name.rstrip("/"))


def errors() -> tuple[type[Exception], ...]:
  """What the clients of a bucket raise beside OSError; none if none is used."""
  if "gcsfs" not in sys.modules:
    return ()
  import aiohttp
  import gcsfs.retry
  import google.api_core.exceptions
  import google.auth.exceptions

  return (
    TimeoutError,
    aiohttp.ClientError,
    gcsfs.retry.HttpError,
    gcsfs.retry.ChecksumError,
    gcsfs.retry.NonRetryableError,
    google.api_core.exceptions.GoogleAPIError,
    google.auth.exceptions.GoogleAuthError,
  )


class Store:
  """The objects below an address.

  Their names are those after the address, such as evaluation/a/mini.json.

  Attributes:
    address: gs://BUCKET/FOLDER.
  """

  def __init__(self, address: str | os.PathLike):
    """Finds the bucket.

    Raises:
      BucketError: There is no such bucket, or it may not be used.
    """
    self.address = str(path(address))
    name, _, folder = self.address.removeprefix(SCHEME).partition("/")
    if not folder:
      raise BucketError(
        f"{self.address}: name a folder in the bucket, such as"
        f" {SCHEME}{name}/runs/first"
      )
    self._prefix = f"{folder}/"
    with self._told("the bucket"):
      from google.cloud import storage

      self._client = storage.Client()
      self._bucket = self._client.get_bucket(name, timeout=_SECONDS)

  def children(self, folder: str = "") -> tuple[dict[str, int], list[str]]:
    """The objects in a folder, with their generations, and its folders.

    Args:
      folder: Its name, with a slash at the end; "" for the address itself.
    """
    with self._told(folder):
      found = self._client.list_blobs(
        self._bucket,
        prefix=self._prefix + folder,
        delimiter="/",
        timeout=_SECONDS,
      )
      objects = {self._name(b.name): b.generation for b in found}
    objects.pop(folder, None)  # some tools make an object for a folder
    return objects, sorted(map(self._name, found.prefixes))

  def walk(self, folder: str) -> dict[str, int]:
    """All objects below a folder, with their generations."""
    with self._told(folder):
      found = self._client.list_blobs(
        self._bucket, prefix=self._prefix + folder, timeout=_SECONDS
      )
      return {self._name(b.name): b.generation for b in found}

  def read(self, name: str) -> tuple[bytes, int]:
    """An object's content and generation; b"" and 0 if there is none."""
    import google.api_core.exceptions

    with self._told(name):
      # Twice, if it was written again between the two questions.
      for _ in range(10):
        blob = self._bucket.get_blob(self._prefix + name, timeout=_SECONDS)
        if blob is None:
          return b"", 0
        generation = blob.generation
        with contextlib.suppress(
          google.api_core.exceptions.NotFound,
          google.api_core.exceptions.PreconditionFailed,
        ):
          content = blob.download_as_bytes(
            if_generation_match=generation, timeout=_SECONDS
          )
          return content, generation
    raise ChangedError(f"{self.address}/{name} is written all the time")

  def has(self, name: str) -> bool:
    """Whether there is an object; unlike a path's `exists`, never a guess."""
    with self._told(name):
      found = self._bucket.get_blob(self._prefix + name, timeout=_SECONDS)
    return found is not None

  def write(self, name: str, content: bytes, generation: int) -> int:
    """Writes an object.

    Args:
      name: Its name.
      content: Its content, not empty.
      generation: The one that it replaces; 0 if there is none.

    Returns:
      Its generation.

    Raises:
      ChangedError: It has another generation, and another content.
    """
    blob = self._bucket.blob(self._prefix + name)
    try:
      with self._told(name):
        blob.upload_from_string(
          content,
          content_type="application/octet-stream",
          if_generation_match=generation,
          timeout=_SECONDS,
        )
        return blob.generation
    except ChangedError:
      # It may be this very write, whose answer was lost before it was repeated.
      found, now = self.read(name)
      if now and found == content:
        return now
      raise

  def remove(self, name: str, generation: int) -> None:
    """Removes an object, if it still has a generation."""
    with self._told(name):
      self._bucket.blob(self._prefix + name).delete(
        if_generation_match=generation, timeout=_SECONDS
      )

  def remove_folder(self, folder: str, first: str = "") -> None:
    """Removes all that lies below a folder, whatever its generation.

    Args:
      folder: Its name.
      first: The object in it that goes first, where it says that the others are
        whole.
    """
    import google.api_core.exceptions

    def remove(name: str) -> None:
      with (
        self._told(name),
        contextlib.suppress(google.api_core.exceptions.NotFound),
      ):
        self._bucket.blob(self._prefix + name).delete(timeout=_SECONDS)

    names = self.walk(f"{folder}/")
    if f"{folder}/{first}" in names:
      remove(f"{folder}/{first}")
    with futures.ThreadPoolExecutor(_THREADS) as pool:
      list(pool.map(remove, names))

  def move(self, folder: str, to: str, mark: str) -> None:
    """Copies all that lies below a folder within the bucket, then removes it.

    Killed at any moment, one of the two is whole.

    Args:
      folder: Its name.
      to: Its new name.
      mark: The object that says that a folder is whole.
    """

    def copy(name: str) -> None:
      with self._told(name):
        self._bucket.copy_blob(
          self._bucket.blob(self._prefix + name),
          self._bucket,
          f"{self._prefix}{to}/{name.removeprefix(f'{folder}/')}",
          timeout=_SECONDS,
        )

    names = list(self.walk(f"{folder}/"))
    # First, as what lacks it is cleaned away.
    names.sort(key=lambda name: name != f"{folder}/{mark}")
    copy(names[0])
    with futures.ThreadPoolExecutor(_THREADS) as pool:
      list(pool.map(copy, names[1:]))
    self.remove_folder(folder, first=mark)

  def upload(self, folder: pathlib.Path, last: str) -> None:
    """Writes all files below a folder of this machine.

    Args:
      folder: The folder.
      last: The file that says that the others are whole.
    """

    def write(file: pathlib.Path) -> None:
      name = file.relative_to(folder).as_posix()
      with self._told(name):
        self._bucket.blob(self._prefix + name).upload_from_filename(
          file, timeout=_SECONDS
        )

    files = [f for f in folder.rglob("*") if f.is_file() and f.name != last]
    with futures.ThreadPoolExecutor(_THREADS) as pool:
      list(pool.map(write, files))
    write(folder / last)

  def _name(self, name: str) -> str:
    """An object's name after the address."""
    return name.removeprefix(self._prefix)

  @contextlib.contextmanager
  def _told(self, name: str) -> Iterator[None]:
    """Turns what the library raises into one sentence."""
    from google.api_core import exceptions
    from google.auth import exceptions as auth

    where = f"{self.address}/{name}" if name != "the bucket" else self.address
    try:
      yield
    except exceptions.PreconditionFailed as error:
      raise ChangedError(
        f"{where} was written by somebody else in the meantime"
      ) from error
    except exceptions.NotFound as error:
      bucket = self.address.removeprefix(SCHEME).partition("/")[0]
      what = f"there is no bucket {bucket}" if name == "the bucket" else "gone"
      raise BucketError(f"{where}: {what}") from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
      raise BucketError(
        f"{where}: this machine's account lacks the permission; give it"
        f" {_ROLES} on the bucket ({_first_line(error)})"
      ) from error
    except auth.DefaultCredentialsError as error:
      raise BucketError(
        f"{where}: this machine has no account; log in with: gcloud auth"
        " application-default login"
      ) from error
    except (
      OSError,
      exceptions.GoogleAPIError,
      auth.GoogleAuthError,
    ) as error:
      raise BucketError(
        f"{where}: the bucket does not answer ({_first_line(error)})"
      ) from error


def _first_line(error: Exception) -> str:
  """What an error says, in a few words."""
  return " ".join(str(error).split())[:200]
