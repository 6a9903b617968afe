"""What the page's buttons do: hear a clip, ask, stop, begin again."""

import asyncio
import contextlib
import dataclasses
import html
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, TypeVar

from ltu_jax.answers.answerer import Answer, Question
from ltu_jax.audio.decode import AudioError
from ltu_jax.audio.heard import Heard, hear
from ltu_jax.sampling import SamplingConfig
from ltu_jax.serve import pictures
from ltu_jax.serve.service import Service, ServiceError

History = Sequence[tuple[str, str]]
"""(question, answer) pairs about a clip, oldest first."""

T = TypeVar("T")

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


class Asking:
  """The question that a page is asking, so that its buttons can end it.

  `ask` itself says that it was stopped: were it cancelled from outside, what
  it had sent before might be shown after that.
  """

  def __init__(self):
    """Nothing is asked."""
    self._stopped: asyncio.Event | None = None
    self._loop: asyncio.AbstractEventLoop | None = None
    self._quiet = False

  def begin(self) -> None:
    """A question is asked, on the running loop."""
    self._loop = asyncio.get_running_loop()
    self._stopped, self._quiet = asyncio.Event(), False

  def stop(self, quiet: bool = False) -> None:
    """Ends it; from any thread.

    Args:
      quiet: Nothing more is shown of it: something else takes its place.
    """
    if self._stopped:
      self._quiet = self._quiet or quiet
      self._loop.call_soon_threadsafe(self._stopped.set)

  @property
  def quiet(self) -> bool:
    """Whether it was ended by something that takes its place."""
    return self._quiet

  async def until_stopped(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yields what comes until it is stopped."""
    stopped = asyncio.ensure_future(self._stopped.wait())
    try:
      while True:
        coming = asyncio.ensure_future(anext(items, None))
        try:
          await asyncio.wait(
            (coming, stopped), return_when=asyncio.FIRST_COMPLETED
          )
        finally:
          if stopped.done() or not coming.done():
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        if stopped.done() or (item := coming.result()) is None:
          return
        yield item
    finally:
      stopped.cancel()

  @property
  def stopped(self) -> bool:
    """Whether it was ended."""
    return bool(self._stopped and self._stopped.is_set())


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
  asking: Asking,
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
    asking: What ends it.
    text: The question.
    heard: The clip.
    history: What was said about it before.
    follow_up: Whether the model reads the history; it was trained without one.
    *settings: The fields of SamplingConfig in their order, then the seed; None
      for one that was left empty.
  """
  before = finished(history)
  asking.begin()
  try:
    read = before if follow_up else ()
    question = _question(text, heard, read, settings)
    yield Shown([*before, (text, "")], _words("Listening …"), "", True)
    said = ""
    async with contextlib.aclosing(service.astream(question)) as pieces:
      async for piece in asking.until_stopped(pieces):
        said += piece.text
        status = _words(
          _ending(piece.answer) if piece.answer else "Answering …"
        )
        busy = piece.answer is None
        yield Shown([*before, (text, said)], status, busy=busy)
    if asking.stopped and not asking.quiet:
      yield Shown(finished([*before, (text, said)]), _words("Stopped."))
  except (ServiceError, ValueError) as error:
    reason = str(error)
    yield Shown(before, _error(reason[:1].upper() + reason[1:]), text)


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
