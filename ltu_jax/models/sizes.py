"""What the fields of a frozen config may be, wherever their values come from.

A file from elsewhere may say anything: a text for a number, no heads, or 10^12
layers, whose names alone would fill the memory.
"""

import dataclasses
import sys
from collections.abc import Collection
from typing import Any

MOST = 1 << 20
"""The largest size of a model; the widest ones have less than 2^18."""

MOST_LAYERS = 1024
"""Layers of a stack at most; the deepest decoders have some 130."""

_WHOLE = range(1 << 31)

_KINDS = {
  bool: "true or false",
  int: "a whole number, 0 or more",
  float: "a number",
  str: "a text",
  tuple[str, ...]: "texts",
}


def check(
  config: Any,
  sizes: Collection[str] = (),
  layers: Collection[str] = (),
) -> None:
  """Checks the values of a dataclass.

  Args:
    config: The instance; its fields are of the types in `_KINDS`.
    sizes: Fields that are 1 to MOST.
    layers: Fields that are 1 to MOST_LAYERS.

  Raises:
    ValueError: Names every field that is wrong.
  """
  problems = []
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    most = MOST_LAYERS if field.name in layers else MOST
    is_size = field.name in sizes or field.name in layers
    if not _fits(value, field.type):
      problems.append(
        f"{field.name} is {value!r:.60}, not {_KINDS[field.type]}"
      )
    elif is_size and not 1 <= value <= most:
      problems.append(f"{field.name} is {value}, not 1 to {most}")
  if problems:
    raise ValueError(f"{type(config).__name__}: {'; '.join(problems)}")


def _fits(value: object, kind: Any) -> bool:
  """Whether a value is of the kind; whole numbers stand for others too."""
  if kind is int:
    return type(value) is int and value in _WHOLE
  if kind is float:
    # A whole number may be too large for a float; NaN is no less than anything.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
  if kind == tuple[str, ...]:
    return type(value) is tuple and all(type(x) is str for x in value)
  return type(value) is kind
