"""Whether results may be shown side by side: what they depend on is the same.

A number of one checkpoint says something about another's only if both were
asked the same about the same clips, and scored alike.
"""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.page import folders, words
from ltu_jax.evaluate.page.folders import Checkpoint, Run

SETTINGS, DATA = "settings", "data"
ALLOWED = (SETTINGS, DATA)
"""Kinds of differences, as `allow` names them."""

_COUNTS = ("total", "found", "unreadable", "items")

_MOST = 20
"""Differences that the error names; the rest is counted."""

_NONE = "not given"

_LONGEST = 90
"""Letters of a value in a message."""


@dataclasses.dataclass(frozen=True)
class Difference:
  """Something in which results of one set differ.

  Attributes:
    kind: SETTINGS or DATA.
    set: Name of the set.
    title: Its title.
    field: What differs, such as "decode.temperature".
    values: By checkpoint, as text.
  """

  kind: str
  set: str
  title: str
  field: str
  values: Mapping[str, str]

  def __str__(self) -> str:
    """One line."""
    values = (f"{value} ({name})" for name, value in self.values.items())
    return f"{self.title}: {self.kind}: {self.field}: {'; '.join(values)}"


def check(
  checkpoints: Sequence[Checkpoint], allow: Collection[str]
) -> list[Difference]:
  """Compares what results of the same set depend on.

  Args:
    checkpoints: Those to show side by side.
    allow: Kinds of differences that are shown, with a warning.

  Returns:
    All differences; each is of an allowed kind.

  Raises:
    EvaluateError: There are others, or a kind is not known.
  """
  if unknown := sorted(set(allow) - set(ALLOWED)):
    raise EvaluateError(
      f"--allow={','.join(unknown)}: there are only {' and '.join(ALLOWED)}."
    )
  found = differences(checkpoints)
  refused = [d for d in found if d.kind not in allow]
  if refused:
    kinds = sorted({d.kind for d in found})
    lines = [f"  {d}" for d in refused[:_MOST]]
    if more := len(refused) - _MOST:
      lines += [f"  and {more} more"] if more > 0 else []
    raise EvaluateError(
      "These results cannot be compared, as they differ in more than the"
      " checkpoint:\n"
      + "\n".join(lines)
      + "\nEvaluate again alike, make a report of each, or give"
      f" --allow={','.join(kinds)} to show them with a warning."
    )
  return found


def differences(checkpoints: Sequence[Checkpoint]) -> list[Difference]:
  """Everything in which results of the same set differ."""
  found = []
  for name in folders.set_names(checkpoints):
    runs = folders.with_set(checkpoints, name)
    if len(runs) > 1:
      found += _settings(name, runs) + _data(name, runs)
  return found


def _settings(
  name: str, runs: Sequence[tuple[Checkpoint, Run]]
) -> list[Difference]:
  """Settings in which results differ."""
  flat = [words.flat(run.result.settings) for _, run in runs]
  return _differing(SETTINGS, name, runs, flat, _keys(flat))


def _data(
  name: str, runs: Sequence[tuple[Checkpoint, Run]]
) -> list[Difference]:
  """Files, counts and items in which results differ."""
  values = []
  items = [{(x.id, tuple(x.truth)) for x in run.items} for _, run in runs]
  common = set.intersection(*items)
  for (_, run), own in zip(runs, items, strict=True):
    data = run.result.data
    value = words.flat({"source": _without_folders(data.get("source"))})
    value |= {key: words.amount(data.get(key)) for key in _COUNTS}
    value["items and their truth"] = _Own(len(own), frozenset(own - common))
    values.append(value)
  return _differing(DATA, name, runs, values, _keys(values))


def _keys(values: Sequence[Mapping[str, Any]]) -> list[str]:
  """All keys, in the order in which they come first."""
  return list(dict.fromkeys(key for value in values for key in value))


@dataclasses.dataclass(frozen=True)
class _Own:
  """How many items a result has, and which of them not all results have."""

  number: int
  own: frozenset

  def __str__(self) -> str:
    """In words."""
    return f"{len(self.own):,} of {self.number:,} are not in all"


def _differing(
  kind: str,
  name: str,
  runs: Sequence[tuple[Checkpoint, Run]],
  values: Sequence[Mapping[str, Any]],
  keys: Collection[str],
) -> list[Difference]:
  """Those keys under which not all have the same."""
  title, found = runs[0][1].result.title, []
  for key in keys:
    given = [value.get(key, _NONE) for value in values]
    if any(value != given[0] for value in given):
      texts = _cut([words.shown(value, 10_000) for value in given])
      names = [checkpoint.name for checkpoint, _ in runs]
      values_by_name = dict(zip(names, texts, strict=True))
      found.append(Difference(kind, name, title, key, values_by_name))
  return found


def _cut(texts: Sequence[str]) -> list[str]:
  """Cuts long texts so that their first difference is in what is left."""
  if max(map(len, texts)) <= _LONGEST:
    return list(texts)
  letters = zip(*texts, strict=False)
  same = sum(1 for _ in itertools.takewhile(lambda x: len({*x}) == 1, letters))
  start = 0 if same < _LONGEST // 2 else same - _LONGEST // 4
  return [
    ("…" if start else "")
    + text[start : start + _LONGEST]
    + ("…" if len(text) > start + _LONGEST else "")
    for text in texts
  ]


def _without_folders(value: Any) -> Any:
  """File names without where they are: that differs between machines."""
  if isinstance(value, str):
    return value.replace("\\", "/").rsplit("/", 1)[-1]
  if isinstance(value, Mapping):
    return {
      _without_folders(key): _without_folders(x) for key, x in value.items()
    }
  if isinstance(value, list | tuple):
    return [_without_folders(x) for x in value]
  return value
