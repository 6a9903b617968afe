"""Questions in plain words to answers in plain words, many at a time."""

import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ltu_jax import sampling
from ltu_jax.answers.engine import Engine
from ltu_jax.answers.request import Request, RequestError
from ltu_jax.answers.text import TextStream
from ltu_jax.data.prompts import build_dialogue
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.models.ltu import LTU
from ltu_jax.sampling import SamplingConfig


@dataclasses.dataclass(frozen=True)
class Question:
  """A question about a clip.

  Attributes:
    text: In plain words; the prompt around it is added here.
    clip: int16 [samples] at 16 kHz, of which 10.24 s are heard; None without.
    before: (question, answer) pairs of the dialogue so far, oldest first.
    config: How tokens are chosen and how many.
    seed: Of the draws; the same seed gives the same answer in any batch.
    sample: Number among several answers to one question with one seed.
    stop: Strings that end the answer and are not part of it.
  """

  text: str
  clip: np.ndarray | None = None
  before: tuple[tuple[str, str], ...] = ()
  config: SamplingConfig = sampling.PUBLISHED
  seed: int = 0
  sample: int = 0
  stop: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Answer:
  """An answer.

  Attributes:
    text: The whole answer, without spaces around it.
    ended: "stop" if the model ended it or a stop string came, "length" if it
      was cut at the limit, "cancelled".
    prompt_tokens: Tokens read, audio included.
    tokens: Tokens drawn.
    reused: How many of those read did not have to be read again.
    seconds: From `submit` to the end.
  """

  text: str
  ended: str
  prompt_tokens: int
  tokens: int
  reused: int
  seconds: float

  @property
  def finished(self) -> bool:
    """Whether it is whole; False if it was cut."""
    return self.ended == "stop"


@dataclasses.dataclass(frozen=True)
class Piece:
  """Something new of one answer.

  Attributes:
    ticket: Whose, as `submit` returned it.
    text: New text; all pieces together are the answer.
    answer: The answer, when it has ended; None before.
  """

  ticket: int
  text: str
  answer: Answer | None = None


@dataclasses.dataclass
class _Open:
  """A question whose answer has not ended."""

  stream: TextStream
  prompt_tokens: int
  began: float
  tokens: int = 0


class Answerer:
  """Answers questions with one model; not for two threads at once.

  Attributes:
    engine: What draws the tokens.
  """

  def __init__(self, model: LTU, tokenizer: Tokenizer, **engine: Any):
    """Makes room for the answers.

    Args:
      model: The model.
      tokenizer: Its tokenizer.
      **engine: `num_rows`, `context`, `mesh`, `reuse` of `Engine`.
    """
    self._tokenizer = tokenizer
    self._num_audio = model.cfg.num_audio_tokens
    self.engine = Engine(model, eos_id=tokenizer.eos_id, **engine)
    self._open: dict[int, _Open] = {}

  @property
  def idle(self) -> bool:
    """Whether no answer is being made."""
    return self.engine.idle

  def submit(self, question: Question) -> int:
    """Takes a question; its answer comes out of `step`.

    Returns:
      Its ticket.

    Raises:
      RequestError: The question is empty or too long, a stop string is empty,
        or the seed is out of range.
    """
    if not question.text.strip():
      raise RequestError("the question is empty.")
    if not all(question.stop):
      raise RequestError("a stop string is empty.")
    text = build_dialogue(question.before, question.text)
    prompt = self._tokenizer.encode(text, bos=True, eos=False)
    ticket = self.engine.submit(
      Request(
        prompt, question.clip, question.config, question.seed, question.sample
      )
    )
    audio = 0 if question.clip is None else self._num_audio
    self._open[ticket] = _Open(
      TextStream(self._tokenizer, question.stop),
      len(prompt) + audio,
      time.monotonic(),
    )
    return ticket

  def cancel(self, ticket: int) -> None:
    """Ends an answer; its last piece comes out of the next `step`."""
    self.engine.cancel(ticket)

  def step(self, steps: int = 8) -> list[Piece]:
    """Goes on with all answers.

    Args:
      steps: Tokens of each to draw.

    Returns:
      What is new; at most one piece for each ticket, none that says nothing.
    """
    pieces = []
    for drawn in self.engine.step(steps):
      if drawn.ticket not in self._open:
        continue  # cancelled here, at a stop string
      answer = self._open[drawn.ticket]
      answer.tokens += len(drawn.tokens)
      text = answer.stream.add(drawn.tokens, last=bool(drawn.ended))
      ended = "stop" if answer.stream.stopped else drawn.ended
      if answer.stream.stopped and not drawn.ended:
        self.engine.cancel(drawn.ticket)
      made = None
      if ended:
        del self._open[drawn.ticket]
        made = Answer(
          answer.stream.text,
          ended,
          answer.prompt_tokens,
          answer.tokens,
          drawn.reused,
          time.monotonic() - answer.began,
        )
      if text or made:
        pieces.append(Piece(drawn.ticket, text, made))
    return pieces

  def stream(self, question: Question, steps: int = 4) -> Iterator[Piece]:
    """Answers one question, piece by piece; the last piece has the answer.

    Raises:
      RequestError: As `submit`.
    """
    ticket = self.submit(question)
    while ticket in self._open:
      yield from (p for p in self.step(steps) if p.ticket == ticket)

  def answers(
    self, questions: Iterable[Question], steps: int = 16
  ) -> Iterator[tuple[int, Answer | RequestError]]:
    """Answers any number of questions, of which few are held at a time.

    Args:
      questions: Taken one by one, as there is room for them.
      steps: Tokens to draw between two looks at what has ended.

    Yields:
      (number of the question from 0, its answer, or why it has none), in the
      order in which they end.
    """
    numbers: dict[int, int] = {}
    source = enumerate(questions)
    more = True
    while more or numbers:
      while more and self.engine.num_waiting < self.engine.num_rows:
        number, question = next(source, (None, None))
        more = number is not None
        if more:
          try:
            numbers[self.submit(question)] = number
          except RequestError as error:
            yield number, error
      for piece in self.step(steps):
        if piece.answer and piece.ticket in numbers:
          yield numbers.pop(piece.ticket), piece.answer
