"""A real pretrained model from GGUF, against transformers and llama.cpp."""

import dataclasses
import json
import pathlib
import re

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from flax import nnx
from tokenizers import pre_tokenizers

import smollm2
from ltu_jax.convert.from_torch import entries, import_state_dict
from ltu_jax.convert.gguf import read_gguf
from ltu_jax.convert.names import published_shape
from ltu_jax.data.tokenizer import load_tokenizer
from ltu_jax.generate import generate
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import SMOLLM2_135M
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LTU, LtuConfig, abstract
from ltu_jax.sampling import SamplingConfig

pytestmark = pytest.mark.slow

IDS = json.loads(
  (pathlib.Path(__file__).parent / "smollm2_ids.json").read_text()
)["texts"]

QUESTIONS = (
  "What sound does a dog make?",
  "Name three musical instruments.",
  "What is the capital of France?",
  "Is thunder louder than rain? Answer in one sentence.",
  "Write a haiku about a train.",
  "What is 12 + 30?",
  "List:\n\n1. bell\n2. drum\n\nAdd one more.",
  "Explain what an audio spectrogram is.",
)
PROSE = (
  "The door creaked open, and",
  "In 1969, the first people",
)
NEW_TOKENS = 16


@pytest.fixture(scope="module")
def path():
  return smollm2.gguf_file()


@pytest.fixture(scope="module")
def source(path):
  return read_gguf(path)


@pytest.fixture(scope="module")
def theirs(path):
  return transformers.AutoModelForCausalLM.from_pretrained(
    path.parent, gguf_file=path.name, dtype="float32"
  ).eval()


@pytest.fixture(scope="module")
def ours(source) -> LTU:
  """LTU around it; encoder and projector are zeros and are never run."""
  llama = dataclasses.replace(
    source.parts["llama"], dtype="float32", param_dtype="float32"
  )
  encoder = EncoderConfig(dim=32, depth=2, heads=2)
  cfg = LtuConfig(encoder=encoder, llama=llama, lora=LoraConfig(rank=0))
  tensors = {
    e.name: np.zeros(published_shape(e.path, e.shape, encoder), np.float32)
    for e in entries(cfg, ["encoder", "projector"])
  } | {name: tensor.read() for name, tensor in source.tensors.items()}
  graphdef, state = abstract(cfg)
  state = import_state_dict(state, cfg, tensors)
  return nnx.merge(graphdef, nnx.map(lambda _, v: jnp.asarray(v), state))


def prompts(tokenizer) -> list[list[int]]:
  """Eight turns of a conversation and two beginnings of a text."""
  begin, end = tokenizer.bos_id, tokenizer.eos_id
  text = lambda s: tokenizer.encode(s, bos=False)
  answer = [*text("\n"), begin, *text("assistant\n")]
  asked = [[begin, *text(f"user\n{q}"), end, *answer] for q in QUESTIONS]
  return asked + [text(prose) for prose in PROSE]


def test_sizes_are_the_published(source):
  assert source.parts["llama"] == SMOLLM2_135M


def test_every_weight_is_the_one_that_transformers_reads(source, theirs):
  state = theirs.state_dict()
  del state["lm_head.weight"]  # the embedding
  assert source.tensors.keys() == state.keys()
  for name, tensor in source.tensors.items():
    want = state[name].numpy()
    np.testing.assert_array_equal(tensor.read(), want, err_msg=name)


def test_logits_are_those_of_transformers(source, ours, theirs):
  worst = 0.0
  for prompt in prompts(source.tokenizer):
    ids = np.array([prompt])
    with torch.no_grad():
      want = theirs(torch.from_numpy(ids)).logits.numpy()
    length = len(prompt)
    positions = np.arange(length)[None]
    mask = np.tril(np.ones((1, length, length), bool))
    hidden, _ = ours.llama(ours.llama.embed(ids), positions, mask)
    got = np.asarray(ours.llama.logits(hidden))
    worst = max(worst, float(np.abs(got - want).max()))
  # Measured: 1.7e-4, of logits up to 39; transformers' own float32 is 9e-5
  # away from its float64.
  assert worst < 1e-3


def test_greedy_answers_are_those_of_transformers(source, ours, theirs):
  tokenizer = source.tokenizer
  asked = prompts(tokenizer)
  greedy = SamplingConfig(
    temperature=0.0, repetition_penalty=1.0, max_new_tokens=NEW_TOKENS
  )
  got = generate(ours, asked, config=greedy, eos_id=tokenizer.eos_id)
  for prompt, answer in zip(asked, got, strict=True):
    ids = torch.tensor([prompt])
    want = theirs.generate(
      ids,
      attention_mask=torch.ones_like(ids),
      do_sample=False,
      max_new_tokens=NEW_TOKENS,
      eos_token_id=tokenizer.eos_id,
      pad_token_id=tokenizer.pad_id,
    )[0, len(prompt) :].tolist()
    assert tokenizer.decode(answer) == tokenizer.decode(want)
    assert answer == want


@pytest.mark.parametrize("case", IDS, ids=range(len(IDS)))
def test_ids_are_those_of_llama_cpp(source, case):
  got = source.tokenizer.encode(case["text"], bos=False)
  assert got == case["ids"]
  assert source.tokenizer.decode(got) == case["text"]


def test_ids_are_those_of_transformers_but_for_digits(path, source):
  """transformers 5.23 reads this file without taking each digit alone.

  It takes GPT-2's words for all names that it does not know, and the name
  "smollm" is one. That splits two spaces before a digit and joins digits of
  other scripts. llama.cpp, which the recorded ids are of, has a pattern for
  each digit alone before GPT-2's.
  """
  theirs = transformers.AutoTokenizer.from_pretrained(
    path.parent, gguf_file=path.name
  )
  encode = lambda text: theirs(
    text, add_special_tokens=False, split_special_tokens=True
  )["input_ids"]
  for case in IDS:
    assert (encode(case["text"]) != case["ids"]) == case["digits_alone_matter"]
  assert theirs.bos_token_id == source.tokenizer.bos_id
  assert theirs.eos_token_id == source.tokenizer.eos_id
  assert theirs.pad_token_id == source.tokenizer.pad_id
  # With each digit alone, the rest is the same.
  theirs.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Digits(individual_digits=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
  )
  for case in IDS:
    assert encode(case["text"]) == case["ids"]


def test_the_saved_tokenizer_is_the_same(source, tmp_path):
  source.tokenizer.save(tmp_path)
  again = load_tokenizer(tmp_path)
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
  for case in IDS:
    assert again.encode(case["text"], bos=False) == case["ids"]
    if not re.search(r"<\|", case["text"]):
      got = theirs(case["text"], add_special_tokens=False)["input_ids"]
      assert got == case["ids"]
  turn = [{"role": "user", "content": "Hi"}]
  chat = theirs.apply_chat_template(turn, tokenize=False)
  assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n")
