"""What is said on standard error: notes, warnings, progress."""

import sys
from collections.abc import Iterable, Sequence

_MOST_NOTES = 20
"""Lines about single clips; what more there is stands in the answers' notes."""


def say(text: str) -> None:
  """Prints a line."""
  print(f"ask: {text}", file=sys.stderr)


def told(
  path: str | None, notes: Sequence[str], warnings: Sequence[str]
) -> list[str]:
  """What is said about a clip."""
  return [
    *(f"{path}: {note}" for note in notes),
    *(f"warning: {path}: {warning}" for warning in warnings),
  ]


class Console:
  """Lines about clips, with a progress bar below them if wanted."""

  def __init__(self, total: int, done: int = 0, bar: bool = False):
    """Shows the bar.

    Args:
      total: Items of the whole run.
      done: Those that were done before.
      bar: Whether to show it.
    """
    self._left, self._bar = _MOST_NOTES, None
    if bar:
      import tqdm  # slow to import, and seldom needed

      self._bar = tqdm.tqdm(
        total=total, initial=done, unit="answer", file=sys.stderr
      )

  def tell(self, lines: Iterable[str]) -> None:
    """Prints lines, as long as there have not been too many."""
    for line in lines:
      self._left -= 1
      if self._left >= 0:
        self._print(line)
      elif self._left == -1:
        self._print("more is told in the notes of the answers (--json, --out).")

  def advance(self) -> None:
    """One item more has ended."""
    if self._bar is not None:
      self._bar.update()

  def close(self) -> None:
    """Leaves the bar as it is."""
    if self._bar is not None:
      self._bar.close()

  def _print(self, line: str) -> None:
    """Prints above the bar."""
    if self._bar is None:
      say(line)
    else:
      self._bar.write(f"ask: {line}", file=sys.stderr)
