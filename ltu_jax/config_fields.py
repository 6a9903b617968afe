"""Whether a config has the fields of the default one, with usable values.

Field by field; what several fields have to do with each other is in
config_check.py.
"""

import dataclasses
import difflib
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ml_collections
from ml_collections.config_dict import RequiredValueError

from ltu_jax import config as config_lib
from ltu_jax import default_config, tree_names
from ltu_jax.config_rules import RULES
from ltu_jax.curriculum import Stage

_TYPES: Mapping[type, tuple[Callable[[Any], bool], str]] = {
  bool: (lambda x: isinstance(x, bool), "True or False"),
  int: (
    lambda x: isinstance(x, int) and not isinstance(x, bool),
    "a whole number",
  ),
  float: (
    lambda x: isinstance(x, int | float) and not isinstance(x, bool),
    "a number",
  ),
  str: (lambda x: isinstance(x, str), "a text"),
  tuple: (
    lambda x: (
      isinstance(x, list | tuple) and all(isinstance(item, str) for item in x)
    ),
    "a tuple of texts",
  ),
}
"""Type of a field in the default config -> what may stand there, in words."""

_OPTIONAL = ("mesh",)
"""Groups whose fields may be left out: an axis that is not named is 1."""

_NUMBERS = {"data.length_buckets"}
"""Fields that are tuples of whole numbers; other tuples are of texts."""

# A dot would be taken for a group.
_NAME = re.compile(r"[\w-]+")

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 100


def shown(value: Any) -> str:
  """A value in an error's line, cut where it is long."""
  return " ".join(_repr.repr(value).split())


@dataclasses.dataclass
class Found:
  """A config as far as it is right, and what is wrong with it.

  Attributes:
    values: the right fields, by path ("data.batch_size").
    problems: path and line of each problem.
    broken: paths of missing fields and of those with unusable values.
  """

  values: dict[str, Any] = dataclasses.field(default_factory=dict)
  problems: list[tuple[str, str]] = dataclasses.field(default_factory=list)
  broken: list[str] = dataclasses.field(default_factory=list)

  def add(self, path: str, words: str) -> None:
    """Notes a problem of a field; the line is "config.PATH", then `words`."""
    self.problems.append((path, f"config.{path}".rstrip(".") + words))

  def spoil(self, path: str, words: str) -> None:
    """Notes a problem after which nothing can be said about the field."""
    self.add(path, words)
    self.broken.append(path)

  def right(self, *paths: str) -> bool:
    """Whether fields, or all fields of groups, can be used."""
    inside = lambda a, b: not b or f"{a}.".startswith(f"{b}.")
    return not any(
      inside(bad, path) or inside(path, bad)
      for bad in self.broken
      for path in paths
    )

  def group(self, path: str) -> dict[str, Any]:
    """The right fields of a group by their names; groups in it as dicts."""
    inside = {
      name.removeprefix(f"{path}."): value
      for name, value in self.values.items()
      if name.startswith(f"{path}.")
    }
    return tree_names.nested(inside, ".")

  def lines(self) -> list[str]:
    """The problems in the order of the fields' names."""
    ordered = sorted(self.problems, key=lambda problem: problem[0])
    # A value may have line breaks.
    return [" ".join(line.split()) for _, line in ordered]


def read(config: Any) -> Found:
  """Reads all fields of a config.

  Args:
    config: a ConfigDict or a mapping; anything else is a problem, too.
  """
  found = Found()
  default = default_config.get_config().to_dict()
  stages = _items(_items(config).get("stages"))
  default["stages"] = dict.fromkeys(
    filter(_NAME.fullmatch, stages), config_lib.fields(Stage(0, ""))
  )
  _read_group(config, default, "", found)
  return found


def _is_group(value: Any) -> bool:
  return isinstance(value, Mapping | ml_collections.ConfigDict)


def _items(group: Any) -> dict[str, Any]:
  """Names and values of a group; {} of what is none."""
  items = {}
  if not _is_group(group):
    return items
  try:
    names = list(group)
  except TypeError:  # a ConfigDict cannot sort names of several types
    return items
  for name in names:
    # A placeholder that was not filled in is a missing field.
    try:
      items[str(name)] = group[name]
    except RequiredValueError:
      continue
  return items


def _list(names: Iterable[str]) -> str:
  return ", ".join(names)


def _read_group(
  group: Any, default: Mapping[str, Any], path: str, found: Found
) -> None:
  """Compares the fields of a group with those of the default one."""
  join = lambda name: f"{path}.{name}" if path else name
  if not _is_group(group):
    words = f" is {shown(group)}; it must have the fields "
    found.spoil(path, words + (_list(default) or "stage1, stage2, ..."))
    return
  items = _items(group)
  for name in [name for name in items if not _NAME.fullmatch(name)]:
    del items[name]
    found.spoil(path, f": {shown(name)} cannot be the name of a field")
  for name, example in default.items():
    if name in items:
      read_one = _read_group if isinstance(example, dict) else _read_field
      read_one(items[name], example, join(name), found)
    elif path not in _OPTIONAL:
      found.spoil(join(name), " is missing")
  for name in items.keys() - default.keys():
    near = difflib.get_close_matches(name, default, 1)
    known = (
      f"did you mean {near[0]}?" if near else f"there are {_list(default)}"
    )
    found.add(join(name), f" is unknown; {known}")


def _read_field(value: Any, example: Any, path: str, found: Found) -> None:
  """Checks the type of a field, then what is said about its values."""
  fits, words = _TYPES[type(example)]
  if path in _NUMBERS:
    is_whole, words = _TYPES[int][0], "a tuple of whole numbers"
    fits = lambda x: isinstance(x, list | tuple) and all(map(is_whole, x))
  if fits(value):
    fits, words = RULES.get(_rule_name(path), (lambda x: True, ""))
  if fits(value):
    found.values[path] = value
  else:
    found.spoil(path, f" is {shown(value)}; it must be {words}")


def _rule_name(path: str) -> str:
  """The path with "*" for the name of a stage."""
  first, *rest = path.split(".")
  return ".".join([first, "*", *rest[1:]]) if first == "stages" else path
