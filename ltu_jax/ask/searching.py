"""Beam search where `Answerer.answers` would draw: batch after batch."""

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator

import jax
from jax.sharding import Mesh

from ltu_jax import generate
from ltu_jax.answers.answerer import Answer, Question
from ltu_jax.answers.request import RequestError
from ltu_jax.answers.text import TextStream
from ltu_jax.data.prompts import build_prompt
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.models.ltu import LTU


class Searcher:
  """Answers questions by beam search."""

  def __init__(
    self,
    model: LTU,
    tokenizer: Tokenizer,
    *,
    beams: int,
    num_rows: int,
    mesh: Mesh | None = None,
  ):
    """Compiles nothing yet.

    Args:
      model: The model.
      tokenizer: Its tokenizer.
      beams: Answers that are kept open for a question.
      num_rows: Questions that are answered together.
      mesh: The mesh that the model lies on; None for one device.
    """
    self._model, self._tokenizer = model, tokenizer
    self._beams, self._rows, self._mesh = beams, num_rows, mesh

  def answers(
    self, questions: Iterable[Question]
  ) -> Iterator[tuple[int, Answer | RequestError]]:
    """As `Answerer.answers`; all questions have the same greedy config.

    Raises:
      ValueError: As `generate.beam_search`.
    """
    source = enumerate(questions)
    while batch := list(itertools.islice(source, self._rows)):
      numbers, asked = zip(*batch, strict=True)
      yield from zip(numbers, self._search(asked), strict=True)

  def _search(self, asked: tuple[Question, ...]) -> list[Answer]:
    """One batch."""
    began = time.monotonic()
    prompts = [
      self._tokenizer.encode(build_prompt(q.text), bos=True, eos=False)
      for q in asked
    ]
    clips = [question.clip for question in asked]
    pcm, num_samples = generate.batch_clips(clips)
    mesh = jax.set_mesh(self._mesh) if self._mesh else contextlib.nullcontext()
    with mesh:
      found = generate.beam_search(
        self._model,
        prompts,
        pcm=pcm,
        num_samples=num_samples,
        beams=self._beams,
        config=asked[0].config,
        eos_id=self._tokenizer.eos_id,
      )
    answers = []
    for question, prompt, [best] in zip(asked, prompts, found, strict=True):
      stream = TextStream(self._tokenizer, question.stop)
      stream.add(best.tokens, last=True)
      whole = stream.stopped or best.tokens[-1:] == [self._tokenizer.eos_id]
      audio = 0 if question.clip is None else self._model.cfg.num_audio_tokens
      answers.append(
        Answer(
          stream.text,
          "stop" if whole else "length",
          len(prompt) + audio,
          len(best.tokens),
          0,
          time.monotonic() - began,
        )
      )
    return answers
