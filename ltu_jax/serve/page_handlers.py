"""What the page's buttons do: hear a clip, ask, stop, begin again."""

import contextlib
import dataclasses
import html
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from ltu_jax.answers.answerer import Answer, Question
from ltu_jax.audio.decode import AudioError
from ltu_jax.audio.heard import Heard, hear
from ltu_jax.sampling import SamplingConfig
from ltu_jax.serve import pictures
from ltu_jax.serve.service import Service, ServiceError

History = Sequence[tuple[str, str]]
"""(question, answer) pairs about a clip, oldest first."""

_WAITING = "…"
"""Stands for an answer of which nothing has come."""


class Shown(NamedTuple):
  """What the page shows of a dialogue.

  Attributes:
    history: The dialogue.
    status: HTML, what is going on or what went wrong.
    question: What stands in the question box; None leaves it as it is.
    busy: Whether an answer is being made.
  """

  history: History
  status: str = ""
  question: str | None = None
  busy: bool = False

  @property
  def messages(self) -> list[dict[str, str]]:
    """The dialogue as Gradio's Chatbot wants it."""
    return [
      {"role": role, "content": text}
      for question, answer in self.history
      for role, text in (("user", question), ("assistant", answer or _WAITING))
    ]


class ClipShown(NamedTuple):
  """What the page shows of a clip.

  Attributes:
    heard: The clip; None if there is none, or none that can be used.
    picture: HTML.
    note: HTML, what was done with it, or why it cannot be used.
  """

  heard: Heard | None
  picture: str = ""
  note: str = ""


def hear_clip(path: str | None) -> ClipShown:
  """Takes a clip.

  Args:
    path: Of the uploaded file, whose name is the user's; None for no clip.
  """
  if path is None:
    return ClipShown(None)
  try:
    heard = hear(path, os.path.basename(path), seconds=pictures.SHOWN_SECONDS)
  except AudioError as error:
    return ClipShown(None, note=_error(str(error)))
  return ClipShown(heard, pictures.image_tag(heard), _words(_note(heard)))


async def ask(
  service: Service,
  text: str,
  heard: Heard | None,
  history: History,
  follow_up: bool,
  *settings: float | None,
) -> AsyncIterator[Shown]:
  """Asks, and shows the answer as it grows.

  To close it, or to cancel what waits for it, takes the question back.

  Args:
    service: Who answers.
    text: The question.
    heard: The clip.
    history: What was said about it before.
    follow_up: Whether the model reads the history; it was trained without one.
    *settings: The fields of SamplingConfig in their order, then the seed; None
      for one that was left empty.
  """
  before = finished(history)
  try:
    read = before if follow_up else ()
    question = _question(text, heard, read, settings)
    yield Shown([*before, (text, "")], _words("Listening …"), "", True)
    said = ""
    async with contextlib.aclosing(service.astream(question)) as pieces:
      async for piece in pieces:
        said += piece.text
        status = _words(
          _ending(piece.answer) if piece.answer else "Answering …"
        )
        busy = piece.answer is None
        yield Shown([*before, (text, said)], status, busy=busy)
  except (ServiceError, ValueError) as error:
    reason = str(error)
    yield Shown(before, _error(reason[:1].upper() + reason[1:]), text)


def stop(history: History) -> Shown:
  """Leaves what there is of an answer; see `ask` for how it is ended."""
  return Shown(finished(history), _words("Stopped."))


def finished(history: History) -> History:
  """The dialogue without answers of which nothing has come."""
  return [(question, answer) for question, answer in history if answer]


def _question(
  text: str,
  heard: Heard | None,
  before: History,
  settings: Sequence[float | None],
) -> Question:
  """Checks what the page gives, and makes a question of it.

  Raises:
    ValueError: Something is missing or out of range.
  """
  if heard is None:
    raise ValueError("there is no sound; upload or record a clip first.")
  if not text.strip():
    raise ValueError("the question is empty.")
  names = [field.name for field in dataclasses.fields(SamplingConfig)]
  values: dict[str, Any] = dict(zip([*names, "seed"], settings, strict=True))
  for name, value in values.items():
    if value is None:
      raise ValueError(f"the setting {name.replace('_', ' ')} is empty.")
  seed = values.pop("seed")
  return Question(
    text, heard.clip, tuple(before), SamplingConfig(**values), seed
  )


def _ending(answer: Answer) -> str:
  """How an answer ended."""
  said = f"{answer.tokens} tokens in {answer.seconds:.1f} s"
  if answer.ended == "length":
    said += "; cut at the longest answer (see the settings)"
  return said + "."


def _note(heard: Heard) -> str:
  """What was done with a clip."""
  said = "; ".join(heard.all_notes)
  return f"{heard.name}: {heard.seconds:.2f} s{said and '; '}{said}."


def _words(text: str) -> str:
  """Text as HTML."""
  return f'<div class="ltu-words">{html.escape(text)}</div>'


def _error(text: str) -> str:
  """Text of an error as HTML."""
  text = html.escape(text)
  return f'<div class="ltu-error" role="alert">{text}</div>'
