"""Beam search against transformers', and rows against themselves alone."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
import torch
import transformers
from flax import nnx
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ltu_jax import beam, generate, sampling, sharding
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig
from random_model import published_tensors, random_model

EOS = 14
"""With this seed an answer may end soon, late or not at all."""
SEED = 2
NEW_TOKENS = 10
CFG = LtuConfig(
  encoder=EncoderConfig(dim=16, depth=1, heads=2, dtype="float32"),
  llama=LlamaConfig(
    # Few tokens, so that the end token comes often and at any time.
    vocab=24,
    dim=32,
    mlp_dim=48,
    layers=2,
    heads=4,
    kv_heads=2,
    dtype="float32",
    param_dtype="float32",
  ),
  lora=LoraConfig(rank=0),
)
PROMPTS = [
  np.random.default_rng(n).integers(0, 24, n).tolist()
  for n in (1, 2, 3, 4, 7, 9, 12, 16)
]

STOPS = (False, True, "never")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
  """So small a model takes a hundred times as long on several threads."""
  threads = torch.get_num_threads()
  torch.set_num_threads(1)
  yield
  torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model():
  model = random_model(CFG, SEED)
  # As drawn all tokens are about as likely, and the context hardly counts.
  for name, factor in (("embedding", 10), ("lm_head", 20)):
    param = getattr(model.llama, name)
    param[...] = param[...] * factor
  return model


@pytest.fixture(scope="module")
def oracle(model):
  cfg = CFG.llama
  theirs = transformers.LlamaForCausalLM(
    transformers.LlamaConfig(
      vocab_size=cfg.vocab,
      hidden_size=cfg.dim,
      intermediate_size=cfg.mlp_dim,
      num_hidden_layers=cfg.layers,
      num_attention_heads=cfg.heads,
      num_key_value_heads=cfg.kv_heads,
      rms_norm_eps=cfg.norm_eps,
    )
  ).eval()
  weights = {
    name: torch.tensor(tensor.read())
    for name, tensor in published_tensors(model).items()
    if not name.startswith("model.audio")
  }
  theirs.load_state_dict(weights)
  return theirs


def their_beams(
  oracle, inputs, beams, num_return, limit=NEW_TOKENS, **settings
):
  """Beams of each row, by transformers."""
  settings = {"num_return_sequences": num_return, **settings}
  if beams == 1:
    for beams_only in ("early_stopping", "length_penalty"):
      power = settings.pop(beams_only)
  out = oracle.generate(
    **inputs,
    **settings,
    num_beams=beams,
    do_sample=False,
    max_new_tokens=limit,
    eos_token_id=EOS,
    pad_token_id=0,
    output_scores=True,
    return_dict_in_generate=True,
  )
  start = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
  answers = []
  for sequence in out.sequences[:, start:].tolist():
    end = sequence.index(EOS) + 1 if EOS in sequence else limit
    answers.append(sequence[:end])
  if beams > 1:
    scores = out.sequences_scores.tolist()
  else:
    steps = oracle.compute_transition_scores(
      out.sequences, out.scores, normalize_logits=True
    )
    scores = [
      float(s[: len(a)].sum()) / len(a) ** power
      for s, a in zip(steps, answers, strict=True)
    ]
  found = [generate.Beam(*x) for x in zip(answers, scores, strict=True)]
  return [found[i : i + num_return] for i in range(0, len(found), num_return)]


def padded(prompts):
  """Left-padded, as transformers wants them."""
  longest = max(map(len, prompts))
  ids = [[0] * (longest - len(p)) + p for p in prompts]
  mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
  return {
    "input_ids": torch.tensor(ids),
    "attention_mask": torch.tensor(mask),
  }


def config(penalty=1.0, limit=NEW_TOKENS):
  return dataclasses.replace(
    sampling.GREEDY, repetition_penalty=penalty, max_new_tokens=limit
  )


def tokens(rows):
  return [[b.tokens for b in row] for row in rows]


def assert_same(got, wanted):
  assert tokens(got) == tokens(wanted)
  scores = lambda rows: [[b.score for b in row] for row in rows]
  # Log-probabilities differ by up to 1e-5 between two programs in float32; a
  # score is a mean of at most ten, but grows with its norm below power 0.
  np.testing.assert_allclose(scores(got), scores(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("early_stopping", STOPS)
# The last is as many as 24 tokens allow.
@pytest.mark.parametrize("beams", [1, 2, 4, 23])
def test_as_transformers(model, oracle, beams, early_stopping, penalty):
  ended = set()
  for length_penalty, num_return in itertools.product(
    (-1.5, 0.0, 1.0, 2.5), {1, beams}
  ):
    settings = {
      "beams": beams,
      "num_return": num_return,
      "length_penalty": length_penalty,
      "early_stopping": early_stopping,
    }
    wanted = their_beams(
      oracle, padded(PROMPTS), repetition_penalty=penalty, **settings
    )
    got = generate.beam_search(
      model, PROMPTS, config=config(penalty), eos_id=EOS, **settings
    )
    assert_same(got, wanted)
    answers = itertools.chain(*tokens(got))
    ended |= {len(answer) for answer in answers if answer[-1] == EOS}
  # The end token comes, soon and late.
  assert len(ended) > 1


def test_settings_matter(model):
  """Otherwise the test above would not see them mixed up."""

  def search(**settings):
    return tokens(
      generate.beam_search(
        model,
        PROMPTS,
        config=config(settings.pop("penalty", 1.0)),
        eos_id=EOS,
        num_return=4,
        **settings,
      )
    )

  found = [
    *(search(early_stopping=stop) for stop in STOPS),
    search(length_penalty=0.0),
    search(length_penalty=2.5),
    search(penalty=1.3),
  ]
  for one, other in itertools.combinations(found, 2):
    assert one != other
  cut = [a for row in found[0] for a in row if a[-1] != EOS]
  assert cut and all(len(answer) == NEW_TOKENS for answer in cut)


@examples(max_examples=20, deadline=None, derandomize=True)
@given(
  prompts=st.lists(
    st.lists(st.integers(0, 23), min_size=1, max_size=12),
    min_size=1,
    max_size=4,
  ),
  length_penalty=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.7]),
  early_stopping=st.sampled_from(STOPS),
  penalty=st.sampled_from([1.0, 1.1, 0.8]),
  limit=st.sampled_from([1, 2, 9, 16]),
)
def test_any_batch_is_each_row_alone(
  model, oracle, prompts, length_penalty, early_stopping, penalty, limit
):
  """And each is what transformers finds for the prompt by itself."""
  settings = {
    "beams": 3,
    "num_return": 3,
    "length_penalty": length_penalty,
    "early_stopping": early_stopping,
  }
  ours = lambda prompts: generate.beam_search(
    model, prompts, config=config(penalty, limit), eos_id=EOS, **settings
  )
  together = ours(prompts)
  for prompt, row in zip(prompts, together, strict=True):
    assert_same([row], ours([prompt]))
    theirs = their_beams(
      oracle,
      padded([prompt]),
      limit=limit,
      repetition_penalty=penalty,
      **settings,
    )
    assert_same([row], theirs)


@pytest.fixture(scope="module")
def audio():
  """Filter banks of four rows, of which the second is silent."""
  fbank = np.random.default_rng(0).normal(size=(4, 1024, 128))
  return {
    "fbank": fbank.astype(np.float32),
    "has_audio": np.array([True, False, True, True]),
  }


@pytest.mark.parametrize("early_stopping", STOPS)
def test_with_audio_as_transformers(model, oracle, audio, early_stopping):
  """A batch with and without audio; transformers gets embeddings."""
  settings = {
    "beams": 4,
    "num_return": 4,
    "length_penalty": 1.0,
    "early_stopping": early_stopping,
  }
  search = lambda **audio: generate.beam_search(
    model, PROMPTS[:4], config=config(), eos_id=EOS, **audio, **settings
  )
  got = search(**audio)
  heard = np.asarray(model.audio_tokens(audio["fbank"]))
  for row, prompt in enumerate(PROMPTS[:4]):
    embeds = np.asarray(model.llama.embed(np.array(prompt)))
    if audio["has_audio"][row]:
      embeds = np.concatenate([heard[row], embeds])
    inputs = {
      "inputs_embeds": torch.tensor(embeds)[None],
      "attention_mask": torch.ones((1, len(embeds)), dtype=torch.long),
    }
    assert_same(got[row : row + 1], their_beams(oracle, inputs, **settings))
  deaf = search()
  for one, other, shown in zip(got, deaf, audio["has_audio"], strict=True):
    # The audio is heard: far from what rounding does to a score.
    assert (abs(one[0].score - other[0].score) > 1e-3) == shown


def test_on_a_mesh_as_on_one_device(model, audio):
  search = lambda model: generate.beam_search(
    model,
    PROMPTS[:3],
    fbank=audio["fbank"][:3],
    has_audio=audio["has_audio"][:3],
    config=config(1.3),
    num_return=4,
    eos_id=EOS,
  )
  mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
  graphdef, state = nnx.split(model)
  layout = sharding.shardings(sharding.abstract_with_sharding(state, mesh))
  spread = nnx.merge(graphdef, jax.device_put(state, layout))
  with jax.set_mesh(mesh):
    got = search(spread)
  assert_same(got, search(model))


def test_few_compilations(model):
  """Other lengths, settings and row counts of a bucket share one."""
  count = beam.search._cache_size

  def run(rows, length, limit=9, penalty=1.0, **settings):
    generate.beam_search(
      model,
      [[1] * (length - i % 2) for i in range(rows)],
      config=config(penalty, limit),
      **{"beams": 3, **settings},
    )

  run(3, 5)
  before = count()
  run(4, 16, limit=16, penalty=1.2, num_return=3, eos_id=4)
  run(3, 2, limit=1, length_penalty=0, early_stopping=True)
  run(3, 2, length_penalty=2.0, early_stopping="never")
  assert count() == before
  run(3, 17)
  run(3, 5, beams=5)
  assert count() == before + 2


def test_no_prompts_no_answers(model):
  assert generate.beam_search(model, []) == []


@pytest.mark.parametrize(
  "arguments, message",
  [
    ({"beams": 0}, "beams is 0; it must be at least 1"),
    ({"beams": 24}, "beams is 24; .* below the vocabulary's 24 tokens"),
    ({"num_return": 0}, "num_return is 0"),
    ({"num_return": 5}, "num_return is 5; .* at most beams, which is 4"),
    ({"early_stopping": "always"}, "early_stopping is 'always'"),
    ({"early_stopping": 1}, "early_stopping is 1"),
    ({"config": sampling.PUBLISHED}, "temperature is 0.1; .* must be 0"),
    ({"length_penalty": float("nan")}, "length_penalty is nan"),
    ({"length_penalty": -40.0}, "length_penalty is -40.0; .* 400, to this"),
    ({"prompts": [[1], []]}, "prompt 1 is empty"),
    ({"prompts": [[24]]}, r"prompt 0 has a token outside 0\.\.23"),
    ({"pcm": np.zeros((1, 9))}, "pcm and num_samples go together"),
    ({"fbank": np.zeros((3, 1, 1))}, "has 3 rows, prompts has 1"),
  ],
)
def test_unfit_arguments(model, arguments, message):
  with pytest.raises(ValueError, match=message):
    generate.beam_search(model, **{"prompts": [[1]], **arguments})
