"""How likely each of some answers is, to any number of questions about clips.

Nothing is drawn: the model reads every answer and says how probable its tokens
are. Clip and prompt are read once; answers are read against them, side by side
in one row, and what answers begin with in common is read once.

  likelihood = Likelihood(model, tokenizer, answers=["Speech", "Music"])
  for number, scores in likelihood.scores(questions):
    ...

Letters: C answers, R rows, P prompt slots, S tree slots (branches.py).
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np
from jax import set_mesh
from jax.sharding import Mesh

from ltu_jax import generate, padding, processes
from ltu_jax.answers import branches, scoring
from ltu_jax.answers.answerer import Question
from ltu_jax.answers.request import RequestError
from ltu_jax.answers.rows import listen
from ltu_jax.data.prompts import build_dialogue
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.models.ltu import LTU

_MOST_SLOTS = 256
"""Tokens of answers that a row reads in one call, unless one answer is longer:
bounds the memory of their logits."""

_KEPT = 64
"""Prompts whose tokens are remembered: many clips are asked the same."""


@dataclasses.dataclass(frozen=True)
class Scores:
  """How likely each answer to one question is.

  Attributes:
    total: float32 [C], the sum of log p(token | clip, prompt, tokens before)
      over the answer's tokens and its end token.
    tokens: int32 [C], how many tokens that is.
  """

  total: np.ndarray
  tokens: np.ndarray

  @property
  def mean(self) -> np.ndarray:
    """float32 [C], the mean over the tokens."""
    return self.total / self.tokens


@dataclasses.dataclass(frozen=True)
class Encoded:
  """A prompt and its answers as tokens.

  Attributes:
    prompt: What all answers come after.
    answers: The rest of each, its end token included.
  """

  prompt: tuple[int, ...]
  answers: tuple[tuple[int, ...], ...]


def encode(
  tokenizer: Tokenizer, prompt: str, answers: Sequence[str]
) -> Encoded:
  """Takes prompt and answers apart where training has them in one text.

  The tokens are those of the whole texts. Where an answer's first letters
  become one token with the prompt's last ones, that token belongs to the
  answer, and so do the others' tokens from there on: all answers are judged
  after the same tokens, and the difference of two sums is that of two texts.
  """
  given = tokenizer.encode(prompt, bos=True, eos=False)
  texts = [tokenizer.encode(prompt + a, bos=True, eos=True) for a in answers]
  shared = min(branches.common(given, text) for text in texts)
  return Encoded(
    tuple(given[:shared]), tuple(tuple(text[shared:]) for text in texts)
  )


@dataclasses.dataclass(frozen=True)
class _Asked:
  """A question that is fit to be asked."""

  prompt: str
  encoded: Encoded
  clip: np.ndarray | None


class Likelihood:
  """Scores the same answers to many questions; not for two threads at once.

  Attributes:
    num_rows: Questions that are read at once.
  """

  def __init__(
    self,
    model: LTU,
    tokenizer: Tokenizer,
    *,
    answers: Sequence[str],
    num_rows: int = 8,
    mesh: Mesh | None = None,
  ):
    """Compiles nothing yet.

    Args:
      model: The model.
      tokenizer: Its tokenizer.
      answers: C texts, at least one; the order is that of the scores.
      num_rows: Questions that are read at once; on a mesh, rounded up to what
        its data and fsdp axes divide.
      mesh: The mesh that the model lies on; None for one device. If it spans
        several processes, all of them ask the same.

    Raises:
      ValueError: No answers.
    """
    if not answers:
      raise ValueError("there are no answers to score; give at least one.")
    self._model, self._eos, self._mesh = model, tokenizer.eos_id, mesh
    with self._on_mesh():
      parts = padding.row_parts()
    self.num_rows = -(-num_rows // parts) * parts
    self._encode = functools.lru_cache(_KEPT)(
      lambda prompt: encode(tokenizer, prompt, answers)
    )
    self._slots = functools.lru_cache(_KEPT)(
      lambda prompt: branches.num_slots(
        _read(self._encode(prompt)), _MOST_SLOTS
      )
    )
    self._trees = functools.lru_cache(_KEPT)(
      lambda prompt, slots: branches.trees(_read(self._encode(prompt)), slots)
    )

  def scores(
    self, questions: Iterable[Question]
  ) -> Iterator[tuple[int, Scores | RequestError]]:
    """Scores the answers to any number of questions.

    A score depends on the question alone, but for rounding: which others are
    read with it changes the order of sums.

    Args:
      questions: Taken some at a time, while the devices work. Of each, text,
        clip and what was said before count; nothing is drawn.

    Yields:
      (number of the question from 0, its scores, or why it has none), in order.
    """
    source = enumerate(map(self._ask, questions))
    while batch := list(itertools.islice(source, self.num_rows)):
      asked = [a for _, a in batch if isinstance(a, _Asked)]
      started = self._start(asked) if asked else []
      # The next ones are decoded and encoded while the devices work.
      more = list(itertools.islice(source, self.num_rows))
      source = itertools.chain(more, source)
      found = iter(self._finish(asked, started))
      for number, a in batch:
        yield number, next(found) if isinstance(a, _Asked) else a

  def _ask(self, question: Question) -> _Asked | RequestError:
    """The question as it is asked, or why it is not."""
    if not question.text.strip():
      return RequestError("the question is empty.")
    if question.clip is not None and not len(question.clip):
      return RequestError("the clip has no samples; leave it out for none.")
    prompt = build_dialogue(question.before, question.text)
    return _Asked(prompt, self._encode(prompt), question.clip)

  def _start(
    self, asked: Sequence[_Asked]
  ) -> list[tuple[list[branches.Tree], jax.Array, jax.Array]]:
    """Has the devices read a batch.

    Returns:
      For each tree of a row: those of all rows, and what `scoring.score` says.
    """
    slots = max(self._slots(a.prompt) for a in asked)
    trees = [self._trees(a.prompt, slots) for a in asked]
    trees += [[]] * (self.num_rows - len(asked))
    clips = [a.clip for a in asked] + [None] * (self.num_rows - len(asked))
    prompts = _prompts([a.encoded.prompt for a in asked], clips)
    started = []
    with self._on_mesh():
      audio = None
      if prompts.has_audio.any():
        audio = listen(self._model, *generate.batch_clips(clips))
      cache, last = scoring.read(self._model, prompts, audio, slots=slots)
      nothing = branches.empty(slots)
      for row in itertools.zip_longest(*trees, fillvalue=nothing):
        side_by_side = scoring.Branches(
          *(
            np.stack([getattr(tree, name) for tree in row])
            for name in scoring.Branches._fields
          )
        )
        cache, tokens, ends = scoring.score(
          self._model, cache, last, prompts, side_by_side, self._eos
        )
        started.append((list(row), tokens, ends))
    return started

  def _finish(
    self,
    asked: Sequence[_Asked],
    started: Sequence[tuple[list[branches.Tree], jax.Array, jax.Array]],
  ) -> list[Scores]:
    """Waits for a batch and adds up."""
    lengths = [np.array([*map(len, a.encoded.answers)], "i4") for a in asked]
    totals = [np.zeros(len(length), np.float32) for length in lengths]
    for trees, tokens, ends in started:
      tokens, ends = map(processes.on_host, (tokens, ends))
      for row, total in enumerate(totals):
        tree = trees[row]
        total[tree.answers] = tree.totals(tokens[row], ends[row])
    return [Scores(*pair) for pair in zip(totals, lengths, strict=True)]

  def _on_mesh(self) -> contextlib.AbstractContextManager:
    """Compiled calls are made in it."""
    return set_mesh(self._mesh) if self._mesh else contextlib.nullcontext()


def _read(encoded: Encoded) -> list[tuple[int, ...]]:
  """What is read of the answers: nothing comes after their end tokens."""
  return [answer[:-1] for answer in encoded.answers]


def _prompts(
  texts: Sequence[Sequence[int]], clips: Sequence[np.ndarray | None]
) -> scoring.Prompts:
  """Pads prompts; rows without one only fill the batch."""
  tokens = np.zeros((len(clips), padding.bucket(max(map(len, texts)))), "i4")
  length = np.ones(len(clips), np.int32)
  for row, text in enumerate(texts):
    tokens[row, : len(text)], length[row] = text, len(text)
  return scoring.Prompts(
    tokens, length, np.array([clip is not None for clip in clips])
  )
