"""Reads OpenAQA files for the commands here, with progress."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import tqdm
from etils import epath

from ltu_jax.aqa.errors import AqaError
from tfds_builders.openaqa.full import entries
from tfds_builders.openaqa.full.entries import Entry, EntryReader
from tfds_builders.openaqa.full.tally import Tally


class Files:
  """Questions of several files, one after another.

  Attributes:
    num_bytes: Size of all.
    counts: Questions of each file so far, by path.
    left_out: Entries that are none.
    mended: Entries that are used, but not as they are.
  """

  def __init__(self, paths: Sequence[str | os.PathLike]):
    """Notes what to read.

    Raises:
      AqaError: A file is not there, or is given twice.
    """
    self.left_out = Tally(entries.LEFT_OUT)
    self.mended = Tally(entries.MENDED)
    self.counts = {os.fspath(path): 0 for path in paths}
    if len(self.counts) < len(paths):
      raise AqaError("a file is given twice; name each once.")
    try:
      self._readers = {
        path: EntryReader(epath.Path(path), self.left_out, self.mended)
        for path in self.counts
      }
    except entries.JsonError as error:
      raise AqaError(f"{error}.") from error
    self.num_bytes = sum(x.num_bytes for x in self._readers.values())

  def __iter__(self) -> Iterator[Entry]:
    """Yields all questions in order.

    Raises:
      AqaError: A file is no JSON of the published form, or cannot be read.
    """
    # None: not where standard error is a file.
    with tqdm.tqdm(
      total=self.num_bytes, unit="B", unit_scale=True, disable=None
    ) as bar:
      before = 0
      for path, reader in self._readers.items():
        try:
          for entry in reader:
            self.counts[path] += 1
            bar.update(before + reader.position - bar.n)
            yield entry
        except entries.JsonError as error:
          raise AqaError(f"{error}.") from error
        except OSError as error:
          raise AqaError(
            f"{path}: cannot be read: {error.strerror}."
          ) from error
        before += reader.num_bytes

  def as_json(self) -> dict[str, Any]:
    """Returns what was read as plain values."""
    return {
      "files": self.counts,
      "left_out": self.left_out.as_json(),
      "mended": self.mended.as_json(),
    }
