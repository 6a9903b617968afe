"""How often the clips of each source are asked about, and how.

{"closed_prefix": 0.5,
 "datasets": {"clotho*": {"style": "Clotho", "repeat": 2, "max_seconds": 30,
                          "tasks": ["caption"]}}}

A clip takes what stands with the first pattern that fits its data set. `repeat`
need not be whole: 2.5 asks about half of the clips three times, the others
twice, 0.1 about every tenth clip.
"""

import dataclasses
import fnmatch
import hashlib
import importlib.resources
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from ltu_jax import json_text
from ltu_jax.aqa import closed_ended
from ltu_jax.aqa.errors import AqaError

PUBLISHED, PLAIN = "published", "plain"
"""Recipes that are there: OpenAQA's, and each clip once, without a prefix."""

_MOST_COPIES = 1000


@dataclasses.dataclass(frozen=True)
class Part:
  """What is done with the clips of a data set.

  Attributes:
    repeat: How often each is asked about, on the average.
    style: The name by which questions ask for captions in its style.
    tasks: What is asked.
    max_seconds: Longer clips are left out, where the length is known.
  """

  repeat: float = 1
  style: str = ""
  tasks: tuple[str, ...] = closed_ended.TASKS
  max_seconds: float = math.inf

  def copies(self, clip_id: str, seed: int) -> int:
    """How often a clip is asked about; its name decides on the fraction."""
    whole = math.floor(self.repeat)
    if whole == self.repeat:
      return whole
    key = f"{seed}:{clip_id}/repeat".encode(errors="replace")
    digest = hashlib.blake2b(key, digest_size=8).digest()
    draw = int.from_bytes(digest) / 2**64
    return whole + (draw < self.repeat - whole)


@dataclasses.dataclass(frozen=True)
class Recipe:
  """A recipe.

  Attributes:
    closed_prefix: Probability of "Closed-ended question: " before a question.
    datasets: What is done with data sets, by patterns for their names.
  """

  closed_prefix: float = 0.0
  datasets: Mapping[str, Part] = dataclasses.field(default_factory=dict)

  def part(self, dataset: str) -> Part:
    """What is done with a data set."""
    for pattern, part in self.datasets.items():
      if fnmatch.fnmatchcase(dataset, pattern):
        return part
    return Part()

  def with_repeat(self, text: str) -> "Recipe":
    """Adds NAME=NUMBER, which goes before what stands in the recipe.

    Raises:
      AqaError: It has not this form.
    """
    name, mark, number = text.rpartition("=")
    try:
      repeat = float(number)
    except ValueError:
      mark = ""
    if not mark or not name:
      raise AqaError(f"--repeat={text}: it has to be NAME=NUMBER.")
    values = dataclasses.asdict(self.part(name)) | {"repeat": repeat}
    part = _part(name, values, f"--repeat={text}")
    others = {k: v for k, v in self.datasets.items() if k != name}
    return dataclasses.replace(self, datasets={name: part, **others})

  def as_json(self) -> dict[str, Any]:
    """Returns it in the form in which it is read."""
    plain = dataclasses.asdict(Part())
    return {
      "closed_prefix": self.closed_prefix,
      "datasets": {
        pattern: {
          key: value
          for key, value in dataclasses.asdict(part).items()
          if value != plain[key]
        }
        for pattern, part in self.datasets.items()
      },
    }


def read(name: str) -> Recipe:
  """Reads a recipe.

  Args:
    name: `PUBLISHED`, `PLAIN` or a file.

  Raises:
    AqaError: It cannot be read, or is no recipe.
  """
  if name == PLAIN:
    return Recipe()
  if name == PUBLISHED:
    files = importlib.resources.files("ltu_jax.aqa")
    text = (files / "published_recipe.json").read_text(encoding="utf-8")
    return _recipe(json_text.parse(text), name)
  path = pathlib.Path(name)
  try:
    return _recipe(json_text.read(path, unique=True), name)
  except OSError as error:
    raise AqaError(
      f"--recipe={name}: cannot be read: {error.strerror}; give a file, "
      f"{PUBLISHED} or {PLAIN}."
    ) from error
  except AqaError:
    raise
  except ValueError as error:
    raise AqaError(f"{name}: no JSON: {error}.") from error


def check_prefix(value: Any, where: str) -> float:
  """Returns a probability.

  Raises:
    AqaError: It is none.
  """
  if type(value) not in (int, float) or not 0 <= value <= 1:
    raise AqaError(f"{where}: closed_prefix has to be a number from 0 to 1.")
  return float(value)


def _recipe(value: Any, where: str) -> Recipe:
  """Makes a recipe of JSON."""
  if not isinstance(value, dict):
    raise AqaError(f"{where}: a JSON object is needed.")
  _check_keys(value, ("closed_prefix", "datasets"), where)
  datasets = value.get("datasets", {})
  if not isinstance(datasets, dict):
    raise AqaError(f"{where}: datasets has to be an object.")
  return Recipe(
    check_prefix(value.get("closed_prefix", 0), where),
    {name: _part(name, part, where) for name, part in datasets.items()},
  )


def _part(name: str, value: Any, where: str) -> Part:
  """Makes a part of JSON."""
  where = f"{where}: {name}"
  if not isinstance(value, dict):
    raise AqaError(f"{where} has to be an object.")
  _check_keys(value, [f.name for f in dataclasses.fields(Part)], where)
  part = Part(**value)
  for key in ("repeat", "max_seconds"):
    number = getattr(part, key)
    if type(number) not in (int, float) or not number >= 0:
      raise AqaError(f"{where}: {key} has to be a number of 0 or more.")
  if part.repeat > _MOST_COPIES:
    raise AqaError(f"{where}: repeat is {part.repeat}, over {_MOST_COPIES}.")
  if not isinstance(part.style, str):
    raise AqaError(f"{where}: style has to be a text.")
  if not isinstance(part.tasks, list | tuple):
    raise AqaError(f"{where}: tasks has to be a list.")
  if wrong := [task for task in part.tasks if task not in closed_ended.TASKS]:
    raise AqaError(
      f"{where}: there is no task {wrong[0]!r}, only "
      f"{', '.join(closed_ended.TASKS)}."
    )
  return dataclasses.replace(part, tasks=tuple(part.tasks))


def _check_keys(value: dict, known: Any, where: str) -> None:
  """Raises AqaError for a key that means nothing."""
  if wrong := [key for key in value if key not in known]:
    raise AqaError(
      f"{where}: {wrong[0]!r} means nothing; there are {', '.join(known)}."
    )
