"""Questions in, text out: streams, stop strings, dialogues, batches."""

import dataclasses

import numpy as np
import pytest

import golden_data
from ltu_jax import generate, sampling
from ltu_jax.answers.answerer import Answerer, Question
from ltu_jax.answers.request import RequestError
from ltu_jax.answers.text import TextStream
from ltu_jax.data.prompts import build_dialogue, build_full_text, build_prompt
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.models.ltu import LtuConfig
from random_model import random_model

CONFIG = dataclasses.replace(sampling.GREEDY, max_new_tokens=24)
CLIP = (np.sin(np.arange(9000) / 9) * 9000).astype(np.int16)


@pytest.fixture(scope="module")
def tokenizer():
  return SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")


@pytest.fixture(scope="module")
def model(tokenizer):
  cfg: LtuConfig = golden_data.config("forward_a")
  llama = dataclasses.replace(cfg.llama, vocab=tokenizer.vocab_size)
  return random_model(dataclasses.replace(cfg, llama=llama))


@pytest.fixture(scope="module")
def answerer(model, tokenizer):
  return Answerer(model, tokenizer, num_rows=2, context=192)


def alone(model, tokenizer, question):
  """What `generate` answers, as text."""
  prompt = build_dialogue(question.before, question.text)
  pcm, num_samples = generate.batch_clips([question.clip])
  [ids] = generate.generate(
    model,
    [tokenizer.encode(prompt, bos=True, eos=False)],
    pcm=pcm,
    num_samples=num_samples,
    config=question.config,
    eos_id=tokenizer.eos_id,
  )
  return tokenizer.decode(ids).strip(), len(ids)


def test_pieces_make_the_answer(answerer, model, tokenizer):
  question = Question("What can be heard?", CLIP, config=CONFIG)
  *pieces, last = answerer.stream(question, steps=3)
  assert len(pieces) > 2
  text = "".join(piece.text for piece in [*pieces, last])
  want, tokens = alone(model, tokenizer, question)
  assert text == last.answer.text == want
  assert last.answer.tokens == tokens
  assert last.answer.finished == (tokens < 24)
  assert answerer.idle


def test_many_questions_each_get_their_own_answer(answerer, model, tokenizer):
  questions = [
    Question(f"What is {n}?", CLIP if n % 2 else None, config=CONFIG)
    for n in range(5)
  ]
  questions.insert(2, Question(" ", config=CONFIG))
  found = dict(answerer.answers(iter(questions)))
  assert sorted(found) == list(range(6))
  assert isinstance(found.pop(2), RequestError)
  for number, answer in found.items():
    assert answer.text == alone(model, tokenizer, questions[number])[0]


def test_questions_are_taken_as_there_is_room(answerer):
  taken = []

  def questions():
    for n in range(12):
      taken.append(n)
      yield Question(f"What is {n}?", config=CONFIG)

  answers = answerer.answers(questions())
  next(answers)
  # Two rows, two waiting, and what ended in the meantime.
  assert len(taken) <= 6
  assert len(list(answers)) == 11


def test_a_stop_string_ends_the_answer(answerer, model, tokenizer):
  question = Question("What can be heard?", CLIP, config=CONFIG)
  whole, tokens = alone(model, tokenizer, question)
  stop = whole[len(whole) // 2 :][:3]
  assert len(stop) == 3
  stopped = dataclasses.replace(question, stop=("never said", stop))
  *_, last = answerer.stream(stopped, steps=1)
  assert last.answer.text == whole[: whole.index(stop)].rstrip()
  assert last.answer.ended == "stop" and last.answer.tokens < tokens
  while not answerer.idle:
    assert answerer.step() == []


def test_a_dialogue_begins_with_what_was_said(answerer, model, tokenizer):
  first = Question("What can be heard?", CLIP, config=CONFIG)
  *_, said = answerer.stream(first)
  before = ((first.text, said.answer.text),)
  second = dataclasses.replace(first, text="Why?", before=before)
  *_, last = answerer.stream(second)
  assert last.answer.text == alone(model, tokenizer, second)[0]
  prompt = tokenizer.encode(build_prompt(first.text), bos=True, eos=False)
  # At least the clip and the first question; how much of the answer depends
  # on whether its text gives the same tokens again.
  assert last.answer.reused >= 32 + len(prompt) - 1


def test_the_text_of_a_dialogue():
  assert build_dialogue([], "Why?") == build_prompt("Why?")
  before = [("What?", "A dog."), ("Where?", "Here.")]
  text = build_dialogue(before, "Why?")
  assert text.startswith(build_full_text("What?", "", "A dog.") + "\n\n### Ins")
  assert text.endswith("### Response:\nHere.\n\n" + build_prompt("Why?"))


def test_cancelling(answerer):
  endless = dataclasses.replace(CONFIG, max_new_tokens=100)
  ticket = answerer.submit(Question("What?", config=endless))
  answerer.step(2)
  answerer.cancel(ticket)
  [piece] = answerer.step(2)
  assert piece.answer.ended == "cancelled" and not piece.answer.finished
  assert answerer.idle


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"text": " "}, "the question is empty"),
    ({"stop": ("a", "")}, "a stop string is empty"),
    ({"text": "what " * 300}, "there is room for 192"),
  ],
)
def test_unfit_questions(answerer, changes, message):
  with pytest.raises(RequestError, match=message):
    answerer.submit(dataclasses.replace(Question("What?"), **changes))
  assert answerer.idle


class Bytes:
  """A tokenizer whose tokens are bytes."""

  def decode(self, ids):
    return bytes(ids).decode(errors="replace")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
  "text, stop, want",
  [
    ("  a dög barks, 雷  ", (), "a dög barks, 雷"),
    ("a dog. Stop here", ("Stop", "dog!"), "a dog."),
    ("a dog. Sto", ("Stop",), "a dog. Sto"),
    ("aab", ("ab",), "a"),
    ("", (), ""),
  ],
)
def test_pieces_never_have_to_be_taken_back(text, stop, want, size):
  stream, pieces, ids = TextStream(Bytes(), stop), [], text.encode()
  for start in range(0, len(ids) + 1, size):
    last = start + size > len(ids)
    pieces.append(stream.add(ids[start : start + size], last))
    assert "\N{REPLACEMENT CHARACTER}" not in pieces[-1]
  assert "".join(pieces) == stream.text == want
  assert stream.stopped == (want != text.strip())
