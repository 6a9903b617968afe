"""A model behind the questions: it gets the prompt, and hears or does not."""

import dataclasses
import io

import numpy as np
import pytest
import soundfile

import golden_data
from configs import base
from ltu_jax import config as config_lib
from ltu_jax import generate, sampling
from ltu_jax.audio.decode import AudioError
from ltu_jax.data.prompts import build_prompt
from ltu_jax.data.question_source import Question
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.evaluate.answering import answerer
from random_model import random_model


@pytest.fixture(scope="module")
def tokenizer():
  return SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")


@pytest.fixture(scope="module")
def model(tokenizer):
  config = base.get_config()
  cfg = golden_data.config("forward_a")
  for name in config.model:
    config.model[name] = config_lib.fields(getattr(cfg, name))
  return random_model(config_lib.model_config(config, tokenizer.vocab_size))


def question(number, audio):
  return Question(
    clip=number,
    clip_id=f"clip {number}",
    audio=audio,
    instruction=f"What can be heard in {'this ' * number}clip?",
    output="",
    task="cla_label",
    dataset="mini",
  )


def clip(seed):
  rng = np.random.default_rng(seed)
  return rng.integers(-9000, 9000, 16000, dtype=np.int16)


def flac(samples):
  file = io.BytesIO()
  soundfile.write(file, samples, 16000, format="FLAC")
  return file.getvalue()


def direct(model, tokenizer, questions, clips):
  """The answers that generate gives to the same prompts and clips."""
  pcm, num_samples = generate.batch_clips(clips)
  ids = generate.generate(
    model,
    [
      tokenizer.encode(
        build_prompt(q.instruction, q.input), bos=True, eos=False
      )
      for q in questions
    ],
    pcm=pcm,
    num_samples=num_samples,
    config=sampling.SamplingConfig(0.0, 1.0, 0, 1.0, 6),
    eos_id=tokenizer.eos_id,
  )
  return [tokenizer.decode(row).strip() for row in ids]


def test_answers_are_those_of_generate(model, tokenizer):
  clips = [clip(i) for i in range(3)]
  questions = [question(i, flac(c)) for i, c in enumerate(clips)]
  questions[1] = dataclasses.replace(questions[1], input="Rain falls.")
  answer = answerer(model, tokenizer, 6)
  heard, unheard = answer(questions, True), answer(questions, False)
  assert heard == direct(model, tokenizer, questions, clips)
  assert unheard == direct(model, tokenizer, questions, [None] * 3)
  # The random model says something, and another thing if it hears.
  assert all(heard) and heard != unheard


def test_clip_that_cannot_be_read_is_named(model, tokenizer):
  answer = answerer(model, tokenizer, 6)
  with pytest.raises(AudioError, match="clip 4"):
    answer([question(4, b"no sound")], True)
  # Without audio nothing is read.
  assert len(answer([question(4, b"no sound")], False)) == 1
