"""Asking a model: questions of the data set in, texts out."""

from collections.abc import Callable, Sequence

import numpy as np

from ltu_jax import generate
from ltu_jax.data.openaqa import load_pcm
from ltu_jax.data.prompts import build_prompt
from ltu_jax.data.question_source import Question
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.models.ltu import LTU
from ltu_jax.sampling import SamplingConfig

Answer = Callable[[Sequence[Question], bool], list[str]]
"""Answers questions; with False, without hearing their clips."""


def answerer(model: LTU, tokenizer: Tokenizer, max_new_tokens: int) -> Answer:
  """Returns a function that has the model answer, greedily.

  Args:
    model: The model, on any mesh.
    tokenizer: Its tokenizer.
    max_new_tokens: Answers are cut after so many tokens.
  """
  # No penalty on repetition: a right answer repeats words of the question.
  config = SamplingConfig(
    temperature=0,
    repetition_penalty=1.0,
    max_new_tokens=max_new_tokens,
  )

  def answer(questions: Sequence[Question], with_audio: bool) -> list[str]:
    """Answers a batch; raises AudioError for a clip that cannot be read."""
    audio = {}
    if with_audio:
      pcm, num_samples = zip(*map(load_pcm, questions), strict=True)
      audio = {"pcm": np.stack(pcm), "num_samples": np.array(num_samples, "i4")}
    answers = generate.generate(
      model,
      [
        tokenizer.encode(
          build_prompt(q.instruction, q.input), bos=True, eos=False
        )
        for q in questions
      ],
      config=config,
      eos_id=tokenizer.eos_id,
      **audio,
    )
    return [tokenizer.decode(ids).strip() for ids in answers]

  return answer
