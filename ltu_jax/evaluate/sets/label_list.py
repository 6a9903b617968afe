"""The classes of a set, in the order in which they are asked and scored.

labels/SET.csv has a line each: the label as it is asked and scored, and the
name by which the owners' metadata calls it. The first line says whose they are.
"""

import csv
import dataclasses
import functools
import importlib.resources
from collections.abc import Mapping

_SOFT_HYPHEN = "\xad"


@dataclasses.dataclass(frozen=True)
class LabelList:
  """Labels, and how to find one.

  Attributes:
    labels: All of them, in order.
    names: Labels by the owners' name.
    source: Whose they are, and where from.
  """

  labels: tuple[str, ...]
  names: Mapping[str, str]
  source: str
  _plain: Mapping[str, str] = dataclasses.field(repr=False)

  def by_name(self, name: str) -> str:
    """The label that the owners' metadata calls so.

    Raises:
      ValueError: No label is called so.
    """
    if name not in self.names:
      raise ValueError(f"unknown class {name[:80]!r}")
    return self.names[name]

  def by_text(self, text: str) -> str:
    """The label that a published answer names.

    The published files write one label in several ways: with an underscore or a
    space, with a comma or without, in upper or lower case, with soft hyphens.

    Raises:
      ValueError: It names no label.
    """
    label = self._plain.get(_plain(text))
    if label is None:
      raise ValueError(f"unknown label {text.strip()[:80]!r}")
    return label


NONE = LabelList((), {}, "", {})
"""Of a set without classes."""


@functools.cache
def read(name: str) -> LabelList:
  """Reads the classes of a set, such as "esc50"."""
  files = importlib.resources.files("ltu_jax.evaluate.sets")
  text = (files / "labels" / f"{name}.csv").read_text(encoding="utf-8")
  source, _, table = text.partition("\n")
  rows = list(csv.DictReader(table.splitlines()))
  labels = tuple(row["label"] for row in rows)
  return LabelList(
    labels,
    {row["name"]: row["label"] for row in rows},
    source.removeprefix("# "),
    {_plain(label): label for label in labels},
  )


def _plain(text: str) -> str:
  """A label without what the published files do not agree on."""
  text = text.replace("_", " ").replace(",", " ").replace(_SOFT_HYPHEN, "")
  return " ".join(text.lower().split())
