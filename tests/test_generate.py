"""Generation against the published code, and rows against themselves alone."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

import golden_data
from ltu_jax import decoding, generate, sampling, sharding
from ltu_jax.audio.fbank import log_mel
from random_model import random_model

CASES = [
  (name, key.split("/")[1])
  for name in ("forward_a", "forward_b")
  for key in golden_data.load(name)
  if key.startswith("gen/") and key.endswith("/prompt")
]
NEW_TOKENS = 12


@pytest.fixture(scope="module", params=["forward_a", "forward_b"])
def name(request):
  return request.param


@pytest.fixture(scope="module")
def model(name):
  return golden_data.model(name)


def golden_case(name, case):
  prefix = f"gen/{case}/"
  return {
    key.removeprefix(prefix): value
    for key, value in golden_data.load(name).items()
    if key.startswith(prefix)
  }


def greedy(penalty, **changes):
  return dataclasses.replace(
    sampling.GREEDY,
    repetition_penalty=float(penalty),
    max_new_tokens=NEW_TOKENS,
    **changes,
  )


def test_all_cases_are_there():
  """Eight of prompt x audio x penalty, and the two with end tokens."""
  assert len(CASES) == 20


@pytest.mark.parametrize("name, case", CASES, indirect=["name"])
def test_golden(model, name, case):
  expected = golden_case(name, case)
  row = int(expected["audio_row"])
  audio = {}
  if row >= 0:
    data = golden_data.load(name)
    audio["fbank"] = data["input/audio_input"][row : row + 1]
  prompt = expected["prompt"].tolist()
  [got] = generate.trace(
    model,
    [prompt],
    config=greedy(expected["repetition_penalty"]),
    eos_id=int(expected["eos_token_id"]),
    **audio,
  )
  assert prompt + got.tokens == expected["sequence"].tolist()
  # Ten times what float64 differs from the files (golden/README.md).
  np.testing.assert_allclose(got.logits, expected["logits"], rtol=0, atol=1e-4)
  # The penalty multiplies by at most 1.1.
  np.testing.assert_allclose(got.scores, expected["scores"], rtol=0, atol=1e-4)


def mixed_batch(name):
  """Every penalised case of a golden file as one batch of unequal rows."""
  data = golden_data.load(name)
  cases = [
    golden_case(name, case)
    for n, case in CASES
    if n == name and case.startswith("p") and case.endswith("rp1.1")
  ]
  rows = [int(case["audio_row"]) for case in cases]
  return {
    "prompts": [case["prompt"].tolist() for case in cases],
    "sequences": [case["sequence"].tolist() for case in cases],
    "fbank": data["input/audio_input"][np.maximum(rows, 0)],
    "has_audio": np.array(rows) >= 0,
  }


def test_a_batch_of_unequal_rows_is_the_published_rows(name, model):
  """With and without audio, 7 to 12 tokens, five rows padded to eight."""
  batch = mixed_batch(name)
  assert len(set(map(len, batch["prompts"]))) > 1
  assert 0 < batch["has_audio"].sum() < len(batch["has_audio"])
  again = [0, *range(len(batch["prompts"]))]
  got = generate.generate(
    model,
    [batch["prompts"][i] for i in again],
    fbank=batch["fbank"][again],
    has_audio=batch["has_audio"][again],
    config=greedy(1.1),
  )
  for row, i in enumerate(again):
    assert batch["prompts"][i] + got[row] == batch["sequences"][i]


def test_sampled_rows_equal_each_row_alone():
  model = golden_data.model("forward_b")
  batch = mixed_batch("forward_b")
  keys = jax.random.split(jax.random.key(3), len(batch["prompts"]))
  config = dataclasses.replace(
    sampling.PUBLISHED, temperature=1.0, max_new_tokens=NEW_TOKENS
  )
  together = generate.generate(
    model,
    batch["prompts"],
    fbank=batch["fbank"],
    has_audio=batch["has_audio"],
    config=config,
    key=keys,
  )
  for row, prompt in enumerate(batch["prompts"]):
    one = slice(row, row + 1)
    [alone] = generate.generate(
      model,
      [prompt],
      fbank=batch["fbank"][one],
      has_audio=batch["has_audio"][one],
      config=config,
      key=keys[one],
    )
    assert together[row] == alone
  greedy_rows = [
    s[len(p) :]
    for s, p in zip(batch["sequences"], batch["prompts"], strict=True)
  ]
  assert together != greedy_rows


def test_logits_do_not_depend_on_neighbours_or_padding():
  model = golden_data.model("forward_a")
  batch = mixed_batch("forward_a")
  long = batch["prompts"][0] * 5  # another prompt bucket
  together = generate.trace(
    model,
    [*batch["prompts"], long],
    fbank=batch["fbank"][[*range(len(batch["prompts"])), 0]],
    config=greedy(1.1),
  )
  for row, prompt in enumerate(batch["prompts"]):
    [alone] = generate.trace(
      model,
      [prompt],
      fbank=batch["fbank"][row : row + 1],
      config=greedy(1.1),
    )
    assert together[row].tokens == alone.tokens
    # Another shape, another order of float32 sums; as for the golden logits.
    np.testing.assert_allclose(
      together[row].logits, alone.logits, rtol=0, atol=1e-4
    )


def test_cached_logits_are_those_of_the_training_forward(name, model):
  """The whole sequence at once, as in training, gives the same logits."""
  batch = mixed_batch(name)
  audio = np.flatnonzero(batch["has_audio"])[:1]
  prompt, sequence = (
    batch["prompts"][audio[0]],
    batch["sequences"][audio[0]],
  )
  fbank = batch["fbank"][audio]
  [got] = generate.trace(model, [prompt], fbank=fbank, config=greedy(1.1))
  tokens = np.array([sequence], np.int32)
  positions = 32 + np.arange(tokens.shape[1], dtype=np.int32)[None]
  logits = model(
    fbank, np.array([True]), tokens, positions, np.ones_like(tokens)
  )
  np.testing.assert_allclose(
    got.logits, logits[0, len(prompt) - 1 : -1], rtol=0, atol=1e-4
  )


def test_stops_early_and_per_row():
  """The end token ends its own row only; the loop ends with the last one."""
  model = golden_data.model("forward_a")
  case = golden_case("forward_a", "eos_rp1.1")
  other = golden_case("forward_a", "p0_text_rp1.1")
  eos = int(case["eos_token_id"])
  answer = case["sequence"][len(case["prompt"]) :].tolist()
  assert answer[-1] == eos and len(answer) < NEW_TOKENS
  row = max(int(case["audio_row"]), 0)
  fbank = golden_data.load("forward_a")["input/audio_input"]
  got = generate.generate(
    model,
    [case["prompt"].tolist(), *[other["prompt"].tolist()] * 4],
    fbank=fbank[[row] * 5],
    has_audio=np.array([case["audio_row"] >= 0, *[False] * 4]),
    config=greedy(1.1),
    eos_id=eos,
  )
  assert got[0] == answer
  expected = other["sequence"][len(other["prompt"]) :].tolist()
  cut = expected.index(eos) + 1 if eos in expected else NEW_TOKENS
  assert got[1] == expected[:cut]


def test_few_compilations():
  """Other lengths, limits, settings and row counts of a bucket share one."""
  model = golden_data.model("forward_a")
  count = decoding.decode._cache_size

  def run(rows, length, **changes):
    config = sampling.SamplingConfig(**{"max_new_tokens": 9, **changes})
    prompts = [[1] * (length - i % 2) for i in range(rows)]
    key = jax.random.key(0)
    answers = generate.generate(model, prompts, config=config, key=key)
    assert all(len(a) <= config.max_new_tokens for a in answers)

  run(3, 5)
  before = count()
  run(4, 16)
  run(3, 2, temperature=0.7, top_k=3, top_p=0.5, repetition_penalty=1.3)
  run(3, 5, max_new_tokens=16)
  run(3, 5, max_new_tokens=1)
  assert count() == before
  run(3, 17)
  run(5, 5)
  assert count() == before + 2


def test_pcm_in_equals_filter_banks_in():
  model = golden_data.model("forward_a")
  rng = np.random.default_rng(0)
  clip = (rng.normal(size=50_000) * 3000).astype(np.int16)
  pcm, num_samples = generate.batch_clips([clip, None, clip[:300]])
  assert num_samples.tolist() == [50_000, 0, 300]
  fbank = np.asarray(log_mel(pcm, num_samples))
  prompts = [[1, 5, 7], [1, 9], [1, 8, 8, 8]]
  config = greedy(1.1)
  from_pcm = generate.trace(
    model, prompts, pcm=pcm, num_samples=num_samples, config=config
  )
  from_fbank = generate.trace(
    model,
    prompts,
    fbank=fbank,
    has_audio=np.array([True, False, True]),
    config=config,
  )
  for a, b in zip(from_pcm, from_fbank, strict=True):
    assert a.tokens == b.tokens
    # Fused into one program the filter banks round otherwise (5e-4 at single
    # cells, golden/README.md), of which the logits see a small part.
    np.testing.assert_allclose(a.logits, b.logits, rtol=0, atol=1e-3)
  # The audio is heard: the same prompt without it gives other logits.
  [deaf] = generate.trace(model, prompts[:1], config=config)
  assert np.abs(deaf.logits[0] - from_pcm[0].logits[0]).max() > 0.01


def test_batch_clips_cuts():
  pcm, num_samples = generate.batch_clips([np.ones(200_000, np.int16)])
  assert pcm.shape == (1, 164_080)
  assert pcm.all() and num_samples.tolist() == [164_080]


def test_on_a_mesh_as_on_one_device():
  model = golden_data.model("forward_a")
  batch = mixed_batch("forward_a")
  mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
  graphdef, state = nnx.split(model)
  layout = sharding.shardings(sharding.abstract_with_sharding(state, mesh))
  spread = nnx.merge(graphdef, jax.device_put(state, layout))
  with jax.set_mesh(mesh):
    got = generate.generate(
      spread,
      batch["prompts"][:3],
      fbank=batch["fbank"][:3],
      has_audio=batch["has_audio"][:3],
      config=greedy(1.1),
    )
  for row in range(3):
    assert batch["prompts"][row] + got[row] == batch["sequences"][row]


def test_bfloat16_runs():
  cfg = golden_data.config("forward_a")
  half = lambda part: dataclasses.replace(part, dtype="bfloat16")
  cfg = dataclasses.replace(
    cfg, encoder=half(cfg.encoder), llama=half(cfg.llama)
  )
  model = random_model(cfg)
  pcm, num_samples = generate.batch_clips([np.ones(9000, np.int16)])
  [answer] = generate.trace(
    model,
    [[1, 2, 3]],
    pcm=pcm,
    num_samples=num_samples,
    config=greedy(1.1),
    eos_id=-1,
  )
  assert len(answer.tokens) == NEW_TOKENS
  assert np.isfinite(answer.logits).all()


def test_no_prompts_no_answers():
  model = golden_data.model("forward_a")
  assert generate.generate(model, [], config=sampling.GREEDY) == []


@pytest.mark.parametrize(
  "prompts, changes, message",
  [
    ([[1], []], {}, "prompt 1 is empty"),
    ([[1, 256]], {}, r"prompt 0 has a token outside 0\.\.255"),
    ([[1]], {"config": sampling.PUBLISHED}, "sampling needs a key"),
    ([[1]], {"pcm": np.zeros((1, 9))}, "pcm and num_samples go together"),
    (
      [[1]],
      {"pcm": np.zeros((2, 9)), "num_samples": np.ones(2)},
      "pcm has 2 rows, prompts has 1",
    ),
    ([[1]], {"fbank": np.zeros((3, 1, 1))}, "has 3 rows, prompts has 1"),
    (
      [[1]],
      {
        "pcm": np.zeros((1, 9)),
        "num_samples": np.ones(1),
        "fbank": np.zeros((1, 9)),
      },
      "pcm or fbank, not both",
    ),
    ([[1]], {"key": jax.random.split(jax.random.key(0), 2)}, "key has 2 rows"),
  ],
)
def test_unfit_arguments(prompts, changes, message):
  model = golden_data.model("forward_a")
  arguments = {"config": sampling.GREEDY, **changes}
  with pytest.raises(ValueError, match=message):
    generate.generate(model, prompts, **arguments)
