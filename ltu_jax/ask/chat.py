"""A dialogue in the terminal, or through a pipe, about one clip or none."""

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Iterator

from ltu_jax.answers.answerer import Answer, Answerer, Question
from ltu_jax.answers.request import RequestError
from ltu_jax.ask.clips import Clip, read_clip
from ltu_jax.ask.console import say, told
from ltu_jax.ask.errors import AskError
from ltu_jax.sampling import SamplingConfig

_HELP = """\
/clip FILE  hear another clip, in a new dialogue; without FILE: none
/alone      each question goes alone, as in training; again: they follow up
/new        a new dialogue about the same clip
/help       this
/quit       end, as Ctrl-D does; Ctrl-C stops an answer"""

_STEPS = 4
"""Tokens drawn between two looks at what is new, and at Ctrl-C."""


class Chat:
  """One dialogue after the other, until the input ends."""

  def __init__(
    self,
    answerer: Answerer,
    config: SamplingConfig,
    seed: int = 0,
    stop: tuple[str, ...] = (),
    clip: Clip | None = None,
  ):
    """Asks nothing yet.

    Args:
      answerer: What answers.
      config: How tokens are chosen.
      seed: Of the draws.
      stop: Strings that end an answer.
      clip: What the first dialogue is about.
    """
    self._answerer = answerer
    self._question = Question(
      "", clip and clip.pcm, config=config, seed=seed, stop=stop
    )
    self._alone = False
    self._is_terminal = sys.stdin.isatty()

  def run(self) -> int:
    """Reads lines until they end; returns the exit status.

    The status is 1 if a line through a pipe could not be done.
    """
    if self._is_terminal:
      with contextlib.suppress(ImportError):
        import readline  # noqa: F401  input() then has history and editing
      say("ask away; /help says what else there is.")
    failed = False
    while (line := self._read()) is not None:
      line = line.strip()
      try:
        if line.startswith("/"):
          if not self._obey(*line.split(maxsplit=1)):
            break
        elif line:
          self._ask(line)
      except (AskError, RequestError) as error:
        failed = True
        say(str(error))
    return int(failed and not self._is_terminal)

  def _read(self) -> str | None:
    """The next line; None at the end."""
    if not self._is_terminal:
      return sys.stdin.readline() or None
    while True:
      try:
        return input("> ")
      except EOFError:
        print(flush=True)
        return None
      except KeyboardInterrupt:
        print("\n(Ctrl-D or /quit ends)", flush=True)

  def _obey(self, command: str, argument: str = "") -> bool:
    """Does what a command says; returns whether to go on."""
    if command == "/quit":
      return False
    if command == "/help":
      print(_HELP, flush=True)
    elif command == "/new":
      self._change(before=())
    elif command == "/alone":
      self._alone = not self._alone
      how = "go alone" if self._alone else "follow up"
      say(f"from now on, questions {how}.")
    elif command == "/clip":
      self._hear(argument)
    else:
      raise AskError(f"unknown command {command}; /help names all.")
    return True

  def _hear(self, argument: str) -> None:
    """Takes another clip; begins a new dialogue."""
    path = os.path.expanduser(argument.strip("\"'"))
    clip = read_clip(path) if path else None
    if clip:
      for line in told(path, clip.notes, clip.warnings):
        say(line)
    self._change(clip=clip and clip.pcm, before=())

  def _change(self, **changes: object) -> None:
    """What later questions are about."""
    self._question = dataclasses.replace(self._question, **changes)

  def _ask(self, text: str) -> None:
    """Prints an answer as it comes, and adds it to the dialogue."""
    dialogue = self._question.before
    before = () if self._alone else dialogue
    question = dataclasses.replace(self._question, text=text, before=before)
    ticket = self._answerer.submit(question)
    with _interrupted() as interrupted:
      answer = self._print(ticket, interrupted)
    if answer.ended == "cancelled":
      say("stopped.")
    elif answer.ended == "length":
      say("the answer was cut at the limit (--max_new_tokens, --context).")
    if answer.text:
      self._change(before=(*dialogue, (text, answer.text)))

  def _print(self, ticket: int, interrupted: threading.Event) -> Answer:
    """Prints the pieces of an answer until it ends, or is stopped."""
    while True:
      for piece in self._answerer.step(_STEPS):
        print(piece.text, end="", flush=True)
        if piece.answer:
          print(flush=True)
          return piece.answer
      if interrupted.is_set():
        self._answerer.cancel(ticket)


@contextlib.contextmanager
def _interrupted() -> Iterator[threading.Event]:
  """Within it, Ctrl-C sets an event, and raises nothing.

  An exception in the middle of a step would leave the engine without its rows.
  """
  event = threading.Event()
  before = signal.signal(signal.SIGINT, lambda *_: event.set())
  try:
    yield event
  finally:
    signal.signal(signal.SIGINT, before)
