"""Keeps vectors on disk: texts that were embedded once are not paid for again.

FOLDER/NAME/HASH.npz   keys [n, 32] and vectors [n, d] of some texts

NAME is the hash of the embedder's name, HASH that of the file's own bytes. A
file is written whole, renamed into place and never changed. So there is nothing
to lock, which network disks and mounted buckets do badly (a database such as
SQLite relies on it); processes may write at once; one that is killed leaves
whole files; and a damaged file shows, as its name is no longer its hash.
"""

import contextlib
import hashlib
import io
import os
import pathlib
import secrets
import sys
import time
import zipfile
from collections.abc import Sequence

import numpy as np

from ltu_jax.evaluate.embeddings.embedder import Embedder
from ltu_jax.evaluate.errors import EvaluateError

_CHUNK = 2048
"""Texts after which vectors are written: what a kill can lose."""

_STALE_SECONDS = 86400.0
"""Age at which an unfinished file is one that a killed process left."""

_KEY = 32
"""Bytes of a key: SHA-256."""


class Cached:
  """An embedder that asks another one only for texts that are new.

  Not for several threads at once; any number of processes may share a folder.

  Attributes:
    name: The other one's.
  """

  def __init__(self, embedder: Embedder, folder: pathlib.Path):
    """Looks at nothing yet.

    Args:
      embedder: Asked for what is not there.
      folder: Made if it is not there. One that cannot be written is no error:
        a message says so.
    """
    self.name, self._embedder = embedder.name, embedder
    self._folder = folder / hashlib.sha256(_bytes(self.name)).hexdigest()[:16]
    self._vectors: dict[bytes, np.ndarray] = {}
    self._files: dict[bytes, str] | None = None
    self._can_write = True

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """Embeds texts; see Embedder."""
    keys = [self._key(text) for text in texts]
    wanted = dict(zip(keys, texts, strict=True))
    self._load(wanted.keys() - self._vectors.keys())
    missing = [key for key in wanted if key not in self._vectors]
    for start in range(0, len(missing), _CHUNK):
      some = missing[start : start + _CHUNK]
      vectors = self._embedder([wanted[key] for key in some])
      self._vectors.update(zip(some, vectors, strict=True))
      self._write(some, vectors)
    if not keys:
      return np.zeros((0, 0), np.float32)
    found = [self._vectors[key] for key in keys]
    if len(widths := {len(vector) for vector in found}) > 1:
      raise EvaluateError(
        f"{self._folder}: its vectors have other lengths than those that"
        f" {self.name} gives now ({sorted(widths)}). Another model must stand"
        " behind that name: delete the folder."
      )
    return np.stack(found)

  def _key(self, text: str) -> bytes:
    """What tells a text of this embedder from all others."""
    return hashlib.sha256(_bytes(f"{self.name}\0{text}")).digest()

  def _load(self, keys: set[bytes]) -> None:
    """Reads the vectors that are there of those asked for.

    Files are read once to know what is in them, and again when one of their
    texts is asked for: a folder may hold more than fits in memory.
    """
    if not keys:
      return
    if self._files is None:
      self._sweep()
      self._files = {}
      names = sorted(path.name for path in self._folder.glob("*.npz"))
    else:
      names = sorted({self._files[key] for key in keys if key in self._files})
    for name in names:
      found = self._read(self._folder / name)
      self._files.update(dict.fromkeys(found, name))
      self._vectors.update((k, found[k]) for k in keys & found.keys())

  def _read(self, path: pathlib.Path) -> dict[bytes, np.ndarray]:
    """A file's vectors by key; {} of one that is damaged, which is removed."""
    try:
      content = path.read_bytes()
      if _hash(content) != path.stem:
        raise ValueError("its content is not what was written")
      with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        keys, vectors = arrays["keys"], arrays["vectors"]
    except FileNotFoundError:
      return {}
    except OSError as error:
      _say(f"{path}: cannot be read, computed anew: {error.strerror}")
      return {}
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
      _say(f"{path}: a damaged file of vectors, computed anew: {error}")
      with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
      return {}
    # Copies of rows: a view would hold the whole file in memory.
    return {
      bytes(key): vector.copy()
      for key, vector in zip(keys, vectors, strict=True)
    }

  def _write(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
    """Keeps new vectors."""
    if not self._can_write:
      return
    buffer = io.BytesIO()
    rows = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, _KEY)
    np.savez(buffer, keys=rows, vectors=vectors)
    content = buffer.getvalue()
    try:
      self._folder.mkdir(parents=True, exist_ok=True)
      # Not by process id: those of two machines may be the same.
      part = self._folder / f"{secrets.token_hex(16)}.part"
      try:
        part.write_bytes(content)
        os.replace(part, self._folder / f"{_hash(content)}.npz")
      finally:
        part.unlink(missing_ok=True)
    except OSError as error:
      self._can_write = False
      _say(f"{self._folder}: vectors cannot be kept there: {error.strerror}")

  def _sweep(self) -> None:
    """Removes what killed processes left unfinished long ago."""
    for part in self._folder.glob("*.part"):
      with contextlib.suppress(OSError):
        if time.time() - part.stat().st_mtime > _STALE_SECONDS:
          part.unlink()


def _bytes(text: str) -> bytes:
  """Any str, half of a surrogate pair among them."""
  return text.encode("utf-8", "surrogatepass")


def _hash(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()


def _say(message: str) -> None:
  print(f"embeddings: {message}", file=sys.stderr, flush=True)
