"""Names of AudioSet's classes by their ids, in the owners' three files.

class_labels_indices.csv  index,mid,display_name
mid_to_display_name.tsv   without header: id, name
ontology.json             a list of objects with id and name
"""

import pathlib
from collections.abc import Mapping

from ltu_jax.aqa.errors import AqaError
from ltu_jax.evaluate.sets import label_list, tables
from ltu_jax.evaluate.sets.tables import Row

STRONG = "mid_to_display_name.tsv"
"""The file that comes with AudioSet's strong labels."""


def read(path: pathlib.Path) -> Mapping[str, str]:
  """Reads names by id; which of the files it is, its ending tells.

  Raises:
    AqaError: It is none of them.
    EvaluateError: It cannot be read, or is damaged.
  """
  match path.suffix.lower():
    case ".csv":
      rows = tables.read_csv(path, ("mid", "display_name"))
      keys = ("mid", "display_name")
    case ".tsv":
      rows, keys = tables.read_csv(path, widths=(2,), tabs=True), (0, 1)
    case ".json":
      rows, keys = tables.read_json(path), ("id", "name")
    case _:
      raise AqaError(
        f"{path}: names of classes have to be in class_labels_indices.csv, "
        f"{STRONG} or ontology.json."
      )
  return {row.text(keys[0]): row.text(keys[1]) for row in rows}


def audioset() -> Mapping[str, str]:
  """The 527 classes of the weak labels."""
  return label_list.read("audioset").names


def name(row: Row, names: Mapping[str, str], mid: str) -> str:
  """Returns the name of a class.

  Raises:
    EvaluateError: It has none; names the line.
  """
  if mid not in names:
    raise row.error(f"unknown class {mid[:80]!r}")
  return names[mid]
