"""Records of our own, a JSON object on each line; see ../record_lines.py."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

from ltu_jax.aqa import record_lines
from ltu_jax.aqa.sources.listed import Listed
from ltu_jax.evaluate.sets import tables


def read(paths: Sequence[pathlib.Path], dataset: str = "") -> Iterator[Listed]:
  """Yields the clips.

  Args:
    paths: The file.
    dataset: What to call all of them; empty for what each line says, or the
      file's name.

  Raises:
    EvaluateError: A line is no record; names it.
  """
  (path,) = paths
  for row in tables.read_json_lines(path):
    record = record_lines.parse(row, path.stem)
    record = dataclasses.replace(
      record,
      dataset=dataset or record.dataset,
      audio=record.audio or record.id,
    )
    yield Listed(record, (record.audio,), row.where)
