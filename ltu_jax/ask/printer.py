"""Answers on standard output, in the order of the questions."""

from ltu_jax.ask.results import Result, as_line


class Printer:
  """Prints each result when all before it have been printed."""

  def __init__(self, as_json: bool, named: bool):
    """Begins with item 0.

    Args:
      as_json: Print JSON lines.
      named: Whether each answer is printed after its item's name.
    """
    self._as_json, self._named = as_json, named
    self._next, self._held = 0, {}

  def add(self, result: Result) -> None:
    """Takes a result; prints what is its turn.

    Raises:
      BrokenPipeError: Nobody reads any more.
    """
    self._held[result.item.number] = result
    while self._next in self._held:
      self._print(self._held.pop(self._next))
      self._next += 1

  def _print(self, result: Result) -> None:
    """Prints one; what failed is told on standard error."""
    if self._as_json:
      print(as_line(result.as_json()), flush=True)
    elif not result.error:
      print(result.as_text(self._named), flush=True)
