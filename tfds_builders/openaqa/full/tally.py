"""Counts of what happened while a data set was built, with examples.

Nothing is left out or mended silently: each kind of event has a rule that says
what is done, a count, and a few examples to look at.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

_MOST_EXAMPLES = 5
_LONGEST_EXAMPLE = 400

# A terminal would obey them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclasses.dataclass
class Tally:
  """Counts by kind.

  Attributes:
    rules: What is done with each kind, in a sentence; the kinds there are.
    counts: How often each kind came up.
    examples: The first few of each kind.
  """

  rules: Mapping[str, str]
  counts: dict[str, int] = dataclasses.field(default_factory=dict)
  examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)

  def add(self, kind: str, example: str) -> None:
    """Counts one event.

    Args:
      kind: A key of `rules`.
      example: Names the thing and says what is wrong with it.

    Raises:
      KeyError: If there is no such kind.
    """
    self.merge({kind: {"count": 1, "examples": [example]}})

  def merge(self, counted: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds what another process counted: the `as_json` of its tally."""
    for kind, one in counted.items():
      if kind not in self.rules:
        raise KeyError(f"{kind}: no such kind; there are {list(self.rules)}")
      self.counts[kind] = self.counts.get(kind, 0) + one["count"]
      kept = self.examples.setdefault(kind, [])
      for example in one["examples"][: _MOST_EXAMPLES - len(kept)]:
        kept.append(_short(example))

  def as_json(self) -> dict[str, Any]:
    """Returns kind -> {"count", "rule", "examples"}, in the rules' order."""
    return {
      kind: {
        "count": self.counts[kind],
        "rule": rule,
        "examples": self.examples[kind],
      }
      for kind, rule in self.rules.items()
      if kind in self.counts
    }


def _short(text: str) -> str:
  """Cuts a long example, and makes it a text that can be written on a line."""
  text = _CONTROL.sub(lambda m: repr(m[0])[1:-1], text[: 2 * _LONGEST_EXAMPLE])
  text = text.encode("utf-8", errors="replace").decode("utf-8")
  if len(text) <= _LONGEST_EXAMPLE:
    return text
  return text[: _LONGEST_EXAMPLE - 3] + "..."
