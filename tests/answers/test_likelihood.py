"""Scores of answers against the training forward, one row an answer."""

import dataclasses
import io
import itertools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sentencepiece
import tokenizers
from flax import nnx
from hypothesis import strategies as st
from tokenizers import models, trainers

import golden_data
import tiny_bpe
from letters import Letters
from ltu_jax import generate, sharding
from ltu_jax.answers import likelihood, rows, scoring
from ltu_jax.answers.answerer import Question
from ltu_jax.answers.likelihood import Likelihood
from ltu_jax.answers.request import RequestError
from ltu_jax.audio.fbank import log_mel
from ltu_jax.data import prompts
from ltu_jax.data.bpe_tokenizer import JsonTokenizer
from ltu_jax.data.tokenizer import SentencePieceTokenizer, tokenize_example
from random_model import random_model

LETTERS = Letters()
CLIPS = [
  None,
  *(
    (np.random.default_rng(n).normal(size=n) * 3000).astype(np.int16)
    for n in (9000, 50_000)
  ),
]
# Equal ones, one that another begins with, one of no tokens.
ANSWERS = ["a dog", "a dog barks", "", "rain", "a dog", "a cat."]


@pytest.fixture(scope="module")
def model():
  return golden_data.model("forward_a")


@jax.jit
def forward(model, fbank, has_audio, tokens, segment_ids):
  """log p of each token but the first, by the forward pass of training."""
  audio = model.cfg.num_audio_tokens
  positions = jnp.broadcast_to(
    audio + jnp.arange(tokens.shape[1]), tokens.shape
  )
  logits = model(fbank, has_audio, tokens, positions, segment_ids)
  return jnp.take_along_axis(
    jax.nn.log_softmax(logits[:, :-1]), tokens[:, 1:, None], axis=2
  )[..., 0]


def fbank_of(clip):
  return log_mel(*generate.batch_clips([clip]))


def texts(tokenizer, question, answers):
  """Whole texts as training has them, and how many tokens all share."""
  prompt = prompts.build_dialogue(question.before, question.text)
  given = tokenizer.encode(prompt, bos=True, eos=False)
  found = [tokenizer.encode(prompt + a, bos=True, eos=True) for a in answers]
  columns = zip(given, *found, strict=False)
  shared = itertools.takewhile(lambda column: len({*column}) == 1, columns)
  return found, len([*shared])


def by_training(model, question, answers, tokenizer=LETTERS, length=160):
  """log p of each answer, as rows of a padded batch of training."""
  whole, given = texts(tokenizer, question, answers)
  tokens, real = np.zeros((2, len(answers), length), np.int32)
  for row, ids in enumerate(whole):
    tokens[row, : len(ids)], real[row, : len(ids)] = ids, 1
  hears = question.clip is not None
  found = forward(
    model,
    np.repeat(fbank_of(question.clip), len(answers), axis=0) if hears else None,
    np.full(len(answers), hears),
    tokens,
    real,
  )
  return (np.array(found, np.float64) * real[:, 1:])[:, given - 1 :].sum(axis=1)


def close(scores, want):
  """In float32: sums in another order.

  A log-probability of these models is about -5.5; each came out within 2e-6 of
  it, relative; their sum, within as much.
  """
  np.testing.assert_allclose(scores, want, rtol=2e-6, atol=1e-5)


def asked(model, questions, answers=ANSWERS, tokenizer=LETTERS, **kwargs):
  """Scores in order."""
  scorer = Likelihood(model, tokenizer, answers=answers, **kwargs)
  found = list(scorer.scores(questions))
  assert [number for number, _ in found] == [*range(len(questions))]
  return [scores for _, scores in found]


def test_a_row_of_training_without_padding(model):
  """With sound, and without."""
  answers = ["a dog", "a dog barks"]
  questions = [Question("What is it?", CLIPS[1]), Question("And now it is?")]
  for question, scores in zip(
    questions, asked(model, questions, answers, num_rows=3), strict=True
  ):
    whole, given = texts(LETTERS, question, answers)
    hears = question.clip is not None
    for number, ids in enumerate(whole):
      found = forward(
        model,
        fbank_of(question.clip) if hears else None,
        np.array([hears]),
        np.array([ids]),
        np.ones((1, len(ids)), np.int32),
      )
      total = np.array(found, np.float64)[0, given - 1 :].sum()
      close(scores.total[number], total)
      assert scores.total.dtype == np.float32
      assert scores.tokens[number] == len(answers[number]) + 1
      assert scores.mean[number] == pytest.approx(
        total / scores.tokens[number], rel=1e-5
      )


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(
  st.lists(st.text("ab. ", max_size=4), min_size=1, max_size=4),
  st.lists(
    st.builds(
      Question,
      st.text("ab ?", min_size=1, max_size=20).filter(str.strip),
      st.sampled_from(CLIPS),
    ),
    min_size=1,
    max_size=3,
  ),
)
def test_any_questions_and_answers(model, answers, questions):
  """Also more questions than rows, and answers that begin with others."""
  padded = (answers * 4)[:4]
  for question, scores in zip(
    questions, asked(model, questions, answers, num_rows=2), strict=True
  ):
    want = by_training(model, question, padded, length=64)[: len(answers)]
    close(scores.total, want)
    assert scores.tokens.tolist() == [len(a) + 1 for a in answers]


QUESTIONS = [
  Question("What is it?", CLIPS[1]),
  Question("Why?", None),
  Question("What can be heard in this recording?", CLIPS[2]),
  Question("And now?", CLIPS[1], (("What is it?", "a dog"),)),
]


@pytest.fixture(scope="module")
def wanted(model):
  return [by_training(model, q, ANSWERS) for q in QUESTIONS]


def test_answers_that_take_several_trees(model, wanted, monkeypatch):
  monkeypatch.setattr(likelihood, "_MOST_SLOTS", 16)
  for scores, want in zip(
    asked(model, QUESTIONS, num_rows=3), wanted, strict=True
  ):
    close(scores.total, want)
    # Equal answers are one branch of one tree.
    assert scores.total[0] == scores.total[4]


def test_neighbours_change_nothing_but_rounding(model, wanted):
  """Alone, and in another place of a full batch."""
  found = asked(model, QUESTIONS[3:], num_rows=1)
  found += asked(model, QUESTIONS[::-1], num_rows=3)
  for scores, want in zip(found, [wanted[3], *wanted[::-1]], strict=True):
    close(scores.total, want)
    assert scores.total.argmax() == want.argmax()


def test_the_same_bits_again(model):
  runs = [asked(model, QUESTIONS, num_rows=3) for _ in range(2)]
  for first, second in zip(*runs, strict=True):
    np.testing.assert_array_equal(first.total, second.total)


def test_few_compilations(model):
  """Other questions, clips and answers of a bucket share the programs."""
  asked(model, QUESTIONS, num_rows=3)
  programs = (rows.listen, scoring.read, scoring.score)
  before = [program._cache_size() for program in programs]
  asked(model, QUESTIONS[::-3], [*ANSWERS, "run"], num_rows=3)
  assert [program._cache_size() for program in programs] == before


def with_llama(**changes):
  cfg = golden_data.config("forward_a")
  llama = dataclasses.replace(cfg.llama, **changes)
  return dataclasses.replace(cfg, llama=llama)


def test_with_integer_weights():
  """Rounded weights are the same in both; the arithmetic is float32."""
  model = random_model(with_llama(base_dtype="int8"))
  question = QUESTIONS[1]
  [scores] = asked(model, [question], num_rows=1)
  # Integer weights of any size make logits ten times as large.
  np.testing.assert_allclose(
    scores.total, by_training(model, question, ANSWERS), rtol=1e-4
  )


def test_in_bfloat16(model, wanted):
  """As near to float32 as the training forward in bfloat16 is."""
  cfg = golden_data.config("forward_a").for_answering("bfloat16", "")
  half = golden_data.model("forward_a", cfg)
  question, want = QUESTIONS[1], wanted[1]
  [scores] = asked(half, [question], num_rows=1)
  theirs = by_training(half, question, ANSWERS)
  # Both round activations to 8 bits, at other places of a sum: so two times
  # the forward's own error, and at least a thousandth.
  off = max(np.abs(theirs / want - 1).max(), 1e-3)
  np.testing.assert_allclose(scores.total, want, rtol=2 * off)


@pytest.mark.parametrize(
  "shape",
  [
    pytest.param({"data": 2, "fsdp": 2, "tensor": 2}, marks=pytest.mark.slow),
    {"data": 2, "tensor": 2},
  ],
  ids=str,
)
def test_on_a_mesh_as_on_one_device(model, wanted, shape):
  devices = jax.devices()[: int(np.prod(list(shape.values())))]
  mesh = sharding.make_mesh(shape, devices)
  graphdef, state = nnx.split(model)
  layout = sharding.shardings(sharding.abstract_with_sharding(state, mesh))
  spread = nnx.merge(graphdef, jax.device_put(state, layout))
  found = asked(spread, QUESTIONS, num_rows=3, mesh=mesh)
  for scores, want in zip(found, wanted, strict=True):
    close(scores.total, want)
  assert (
    Likelihood(spread, LETTERS, answers=["a"], mesh=mesh, num_rows=3).num_rows
    == 4
  )


def sentencepiece_with(piece):
  """A tokenizer in which a text's last new line may become part of a piece."""
  data = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["a dog barks", "a Dog", "rain"]),
    model_writer=data,
    vocab_size=300,
    model_type="bpe",
    byte_fallback=True,
    normalization_rule_name="identity",
    remove_extra_whitespaces=False,
    user_defined_symbols=[piece],
    hard_vocab_limit=False,
    minloglevel=2,
  )
  return SentencePieceTokenizer(data.getvalue())


def bpe_with(piece):
  """The same of the other kind: nothing is split before merging."""
  tokenizer = tokenizers.Tokenizer(models.BPE())
  trainer = trainers.BpeTrainer(
    vocab_size=300,
    special_tokens=["<s>", "</s>"],
    initial_alphabet=[*map(chr, range(10, 127))],
    show_progress=False,
  )
  tokenizer.train_from_iterator([piece] * 9, trainer)
  return JsonTokenizer(
    tokenizer.to_str().encode(), {"bos_token": "<s>", "eos_token": "</s>"}
  )


@pytest.mark.parametrize("kind", [sentencepiece_with, bpe_with])
def test_an_answer_that_merges_with_the_prompt(kind):
  """Scores differ as whole texts do, and all come after the same tokens."""
  tokenizer = kind("\nDog")
  question, answers = Question("What?"), ["Dog barks", "rain", "Dog"]
  prompt = prompts.build_prompt("What?")
  given = tokenizer.encode(prompt, bos=True, eos=False)
  encoded = likelihood.encode(tokenizer, prompt, answers)
  assert list(encoded.prompt) == given[:-1]
  for answer, rest in zip(answers, encoded.answers, strict=True):
    trained, _ = tokenize_example(tokenizer, "What?", "", answer)
    assert [*encoded.prompt, *rest] == trained.tolist()
  model = random_model(with_llama(vocab=tokenizer.vocab_size))
  [scores] = asked(model, [question], answers, tokenizer, num_rows=1)
  want = by_training(model, question, answers, tokenizer, length=64)
  # Random weights make logits of up to 20: so much larger errors.
  np.testing.assert_allclose(scores.total, want, rtol=1e-5)
  # None merges: then all is as if there were no such piece.
  plain = likelihood.encode(tokenizer, prompt, answers[1:2])
  assert list(plain.prompt) == given


@pytest.mark.parametrize("kind", ["sentencepiece", "bpe"])
def test_answers_are_the_tokens_of_training(kind, tmp_path):
  """Of tokenizers as they are used: nothing merges after a new line."""
  tokenizer = (
    SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")
    if kind == "sentencepiece"
    else JsonTokenizer.from_folder(tiny_bpe.write_folder(tmp_path))
  )
  answers = ["Labels: Speech; Dog", "Labels: Music", "two spaces", " one"]
  prompt = prompts.build_prompt("What can be heard?")
  encoded = likelihood.encode(tokenizer, prompt, answers)
  given = tokenizer.encode(prompt, bos=True, eos=False)
  assert list(encoded.prompt) == given
  for answer, rest in zip(answers, encoded.answers, strict=True):
    trained, weights = tokenize_example(
      tokenizer, "What can be heard?", "", answer, train_on_inputs=False
    )
    assert [*encoded.prompt, *rest] == trained.tolist()
    assert np.count_nonzero(weights) == len(rest)


def test_unfit_questions_have_an_error_in_their_place(model):
  empty = np.zeros(0, np.int16)
  questions = [Question(" "), QUESTIONS[3], Question("What?", empty)]
  questions += [Question("")] * 4
  found = asked(model, questions, num_rows=3)
  assert [type(f) for f in found] == [
    *(RequestError, likelihood.Scores, *[RequestError] * 5)
  ]
  assert "question is empty" in str(found[0])
  assert "clip has no samples" in str(found[2])
  assert asked(model, [], num_rows=3) == []


def test_no_answers(model):
  with pytest.raises(ValueError, match="no answers to score"):
    Likelihood(model, LETTERS, answers=[])
