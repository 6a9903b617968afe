"""Finds the most frequent of very many texts, in bounded memory."""

_LONGEST = 300
"""Characters of a text that are kept; longer ones are taken for each other
where these are the same."""


class Frequent:
  """Counts of the most frequent texts (Misra and Gries, 1982).

  Attributes:
    low_by: By how much a count may be too low; 0 if there were few texts.
  """

  def __init__(self, most: int = 100_000):
    """Makes an empty counter.

    Args:
      most: Texts to remember; up to twice as many for a while.
    """
    self._most = most
    self._counts: dict[str, int] = {}
    self.low_by = 0

  def add(self, text: str) -> None:
    """Counts a text."""
    text = text[:_LONGEST]
    self._counts[text] = self._counts.get(text, 0) + 1
    if len(self._counts) > 2 * self._most:
      # As if the (k+1)-th largest count were taken off each.
      least = sorted(self._counts.values(), reverse=True)[self._most]
      self.low_by += least
      self._counts = {
        text: count - least
        for text, count in self._counts.items()
        if count > least
      }

  def top(self, number: int) -> list[tuple[str, int]]:
    """Returns the most frequent texts with their counts, the first one first.

    Of texts that are equally frequent, that comes first which was first.
    """
    ordered = sorted(self._counts.items(), key=lambda pair: -pair[1])
    return ordered[:number]
