"""Tokens that come one after the other, to text that can be shown at once."""

from collections.abc import Sequence

from ltu_jax.data.tokenizer import Tokenizer

_BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What a character decodes to whose last bytes have not come yet."""


class TextStream:
  """The text of one answer as it grows, cut at a stop string.

  Text is handed out once it can no longer change: a character of which bytes
  are missing is held back, and so is what may be the beginning of a stop
  string; spaces wait for what follows them. Put together, the pieces are the
  answer.

  Attributes:
    text: The answer so far, as far as it was handed out.
    stopped: Whether a stop string came; the text ends before it.
  """

  def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()):
    """Begins an answer.

    Args:
      tokenizer: Tokens to text.
      stop: Strings that end the answer, and are not part of it; none empty.
    """
    self._tokenizer, self._stop = tokenizer, tuple(stop)
    self._ids: list[int] = []
    self.text, self.stopped = "", False

  def add(self, ids: Sequence[int], last: bool = False) -> str:
    """Takes new tokens.

    Args:
      ids: Token ids; end tokens have no text.
      last: Whether these are the last ones: nothing is held back then.

    Returns:
      The new piece of text, which may be empty.
    """
    if self.stopped:
      return ""
    self._ids.extend(ids)
    whole = self._tokenizer.decode(self._ids).lstrip()
    found = [i for i in map(whole.find, self._stop) if i >= 0]
    if found:
      whole, self.stopped = whole[: min(found)], True
    unsure = 0 if last or self.stopped else self._unsure(whole)
    whole = whole[: len(whole) - unsure].rstrip()
    piece = whole[len(self.text) :]
    self.text += piece
    return piece

  def _unsure(self, text: str) -> int:
    """Characters at the end of a text that may still change or go."""
    broken = len(text) - len(text.rstrip(_BROKEN))
    begun = (
      n
      for stop in self._stop
      for n in range(1, len(stop))
      if text.endswith(stop[:n])
    )
    return max(broken, *begun, 0)
