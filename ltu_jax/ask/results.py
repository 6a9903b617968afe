"""What came out for one item, and how it is written."""

import dataclasses
import json
from typing import Any

from ltu_jax.answers import windows
from ltu_jax.ask.items import Item


@dataclasses.dataclass(frozen=True)
class Part:
  """One answer: the item's only one, a sample's, or a window's.

  Attributes:
    text: The answer.
    ended: As `answers.answerer.Answer.ended`.
    tokens: Tokens drawn.
    start: Seconds from the start of the sound; 0 without windows.
    end: The same, where the window ends; 0 without windows.
  """

  text: str
  ended: str
  tokens: int
  start: float = 0.0
  end: float = 0.0

  @property
  def finished(self) -> bool:
    """Whether it is whole; False if it was cut."""
    return self.ended == "stop"


@dataclasses.dataclass(frozen=True)
class Result:
  """What came out for one item.

  Attributes:
    item: What was asked.
    parts: Its answers, in order; empty after an error.
    seconds: Length of the sound; None without one.
    notes: What was done with the sound.
    warnings: What the model cannot make use of in it.
    error: Why there is no answer; "" if there is one.
    kind: "one", "samples" or "windows": what the parts are.
  """

  item: Item
  parts: tuple[Part, ...] = ()
  seconds: float | None = None
  notes: tuple[str, ...] = ()
  warnings: tuple[str, ...] = ()
  error: str = ""
  kind: str = "one"

  @property
  def name(self) -> str:
    """What to call the item before the user."""
    return self.item.audio or f"item {self.item.number}"

  @property
  def answer(self) -> str | None:
    """The answer: of samples the first, of windows the timeline."""
    if not self.parts:
      return None
    if self.kind == "windows" and len(self.parts) > 1:
      spans = [windows.Span(p.start, p.end, p.text) for p in self.parts]
      return windows.timeline(windows.merge(spans))
    return self.parts[0].text

  def as_json(self) -> dict[str, Any]:
    """Its line of the answers file."""
    ended = next((p.ended for p in self.parts if not p.finished), "stop")
    record = {
      "item": self.item.number,
      "audio": self.item.audio,
      "question": self.item.question,
      "answer": self.answer,
      "finished": bool(self.parts) and all(p.finished for p in self.parts),
      "ended": ended if self.parts else None,
      "seconds": self.seconds and round(self.seconds, 3),
      "notes": [*self.notes, *self.warnings],
      "tokens": sum(part.tokens for part in self.parts),
    }
    if self.item.reference is not None:
      record["reference"] = self.item.reference
    if self.kind == "windows" and self.parts:
      record["windows"] = [
        {"start": round(p.start, 3), "end": round(p.end, 3), **_part(p)}
        for p in self.parts
      ]
    if self.kind == "samples" and self.parts:
      record["samples"] = [_part(part) for part in self.parts]
    if self.error:
      record["error"] = self.error
    return record

  def as_text(self, named: bool) -> str:
    """What is printed.

    Args:
      named: Whether the item's name comes first.
    """
    text = self.answer or ""
    if self.kind == "samples":
      text = "\n".join(f"{n}: {p.text}" for n, p in enumerate(self.parts, 1))
    if not named:
      return text
    several = len(self.parts) > 1
    return f"{self.name}:\n{text}" if several else f"{self.name}: {text}"


def as_line(record: dict[str, Any]) -> str:
  """A record as one line of JSON, without the line's end."""
  line = json.dumps(record, ensure_ascii=False)
  try:
    line.encode()
  except UnicodeEncodeError:  # a file name that is no UTF-8
    line = json.dumps(record)
  return line


def _part(part: Part) -> dict[str, Any]:
  """One answer of several."""
  return {
    "answer": part.text,
    "finished": part.finished,
    "ended": part.ended,
    "tokens": part.tokens,
  }
