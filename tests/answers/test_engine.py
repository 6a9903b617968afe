"""The engine's answers are those of `generate`, one prompt at a time."""

import dataclasses

import hypothesis
import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import strategies as st

import golden_data
from ltu_jax import generate, sampling, sharding
from ltu_jax.answers import rows
from ltu_jax.answers.engine import Engine
from ltu_jax.answers.request import Request, RequestError

EOS = 2
GREEDY = dataclasses.replace(sampling.GREEDY, max_new_tokens=12)
DRAWN = sampling.SamplingConfig(
  temperature=1.0,
  top_p=0.9,
  top_k=40,
  repetition_penalty=1.2,
  max_new_tokens=12,
)
CONTEXT = 96


def clips():
  rng = np.random.default_rng(0)
  return [
    (rng.normal(size=n) * 3000).astype(np.int16) for n in (9000, 50_000, 9000)
  ]


CLIPS = [None, *clips()]


@pytest.fixture(scope="module")
def model():
  return golden_data.model("forward_b")


@pytest.fixture(scope="module")
def engine(model):
  return Engine(model, eos_id=EOS, num_rows=3, context=CONTEXT)


def alone(model, request):
  """What `generate` answers to this one request."""
  key = jax.random.fold_in(jax.random.key(request.seed), request.sample)
  pcm, num_samples = generate.batch_clips([request.clip])
  [answer] = generate.generate(
    model,
    [request.prompt],
    pcm=pcm,
    num_samples=num_samples,
    config=request.config,
    eos_id=EOS,
    key=jax.numpy.stack([key]),
  )
  return answer


def finish(engine, tickets, steps=8):
  """Steps until nothing is left; answers and endings of the tickets."""
  answers, ended = {ticket: [] for ticket in tickets}, {}
  while not engine.idle:
    for drawn in engine.step(steps):
      answers[drawn.ticket] += drawn.tokens
      if drawn.ended:
        ended[drawn.ticket] = drawn.ended
  assert set(ended) == set(tickets)
  return [answers[t] for t in tickets], [ended[t] for t in tickets]


requests = st.builds(
  Request,
  prompt=st.lists(st.integers(3, 198), min_size=1, max_size=16),
  clip=st.sampled_from(CLIPS),
  config=st.builds(
    dataclasses.replace,
    st.sampled_from([GREEDY, DRAWN]),
    max_new_tokens=st.integers(1, 12),
  ),
  seed=st.integers(0, 3),
  sample=st.integers(0, 1),
)


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(st.lists(requests, min_size=1, max_size=7), st.integers(1, 9))
def test_any_batch_is_each_request_alone(model, engine, batch, steps):
  """Also where rows are replaced, and where beginnings are reused."""
  answers, ended = finish(engine, [engine.submit(r) for r in batch], steps)
  for request, answer, why in zip(batch, answers, ended, strict=True):
    assert answer == alone(model, request)
    assert why == ("stop" if answer[-1] == EOS else "length")


def test_an_answer_ends_at_its_end_token(model):
  """An end token that the model does say."""
  request = Request([5, 6, 7], CLIPS[1], GREEDY)
  whole = alone(model, request)
  eos = next(t for t in whole if whole.index(t) > 1)
  engine = Engine(model, eos_id=eos, num_rows=3, context=CONTEXT)
  [answer], ended = finish(engine, [engine.submit(request)])
  assert answer == whole[: whole.index(eos) + 1]
  assert ended == ["stop"]


def test_a_dialogue_reads_only_what_is_new(model):
  engine = Engine(model, eos_id=EOS, num_rows=3, context=CONTEXT)
  first = Request([9, 8, 7, 6], CLIPS[2], GREEDY)
  [said], _ = finish(engine, [engine.submit(first)])
  second = dataclasses.replace(first, prompt=[*first.prompt, *said, 11, 12])
  ticket = engine.submit(second)
  drawn = engine.step(32)
  assert [d.ticket for d in drawn] == [ticket]
  audio = model.cfg.num_audio_tokens
  # The last token of an answer never went through the model.
  assert drawn[0].reused == audio + len(first.prompt) + len(said) - 1
  assert list(drawn[0].tokens) == alone(model, second)


def test_another_question_on_a_clip_does_not_hear_it_again(model):
  engine = Engine(model, eos_id=EOS, num_rows=3, context=CONTEXT)
  batch = [Request([1, 5, n], CLIPS[1], GREEDY) for n in (10, 11, 12)]
  tickets = [engine.submit(r) for r in batch]
  reused = {d.ticket: d.reused for d in engine.step()}
  # The clip and the two tokens that all begin with.
  shared = model.cfg.num_audio_tokens + 2
  assert [reused[t] for t in tickets] == [0, shared, shared]
  while not engine.idle:
    engine.step()
  # The same tokens without the clip, or with another, are another beginning.
  for clip in (None, CLIPS[2]):
    ticket = engine.submit(dataclasses.replace(batch[0], clip=clip))
    [other] = [d for d in engine.step() if d.ticket == ticket]
    assert other.reused == 0


def test_without_reuse_nothing_is_reused(model):
  engine = Engine(model, eos_id=EOS, num_rows=3, context=CONTEXT, reuse=False)
  request = Request([1, 5, 10], CLIPS[1], GREEDY)
  for _ in range(2):
    ticket = engine.submit(request)
    tokens = []
    while not engine.idle:
      for drawn in engine.step():
        assert drawn.ticket == ticket and drawn.reused == 0
        tokens += drawn.tokens
    assert tokens == alone(model, request)


def test_a_cancelled_answer_ends_and_the_others_go_on(model):
  engine = Engine(model, eos_id=-1, num_rows=2, context=CONTEXT)
  batch = [Request([3, n], CLIPS[1], GREEDY) for n in (4, 5, 6, 7)]
  tickets = [engine.submit(r) for r in batch]
  engine.step(2)
  assert (engine.num_active, engine.num_waiting) == (2, 2)
  for ticket in (tickets[0], tickets[2], 999):
    engine.cancel(ticket)
  assert (engine.num_active, engine.num_waiting) == (1, 1)
  ended = {}
  while not engine.idle:
    ended |= {d.ticket: d.ended for d in engine.step() if d.ended}
  assert [ended[t] for t in tickets] == [
    *("cancelled", "length", "cancelled", "length")
  ]


def test_few_compilations(model):
  """Other lengths, settings and numbers of a bucket share the programs."""
  engine = Engine(model, eos_id=EOS, num_rows=3, context=CONTEXT)
  batch = [Request([3] * n, CLIPS[n], GREEDY) for n in (1, 2)]
  finish(engine, [engine.submit(r) for r in batch])
  programs = (rows.read, rows.advance, rows.listen)
  before = [program._cache_size() for program in programs]
  other = [
    dataclasses.replace(batch[0], prompt=[7] * 16, config=DRAWN, seed=5),
    dataclasses.replace(batch[0], clip=CLIPS[3]),
  ]
  finish(engine, [engine.submit(r) for r in other], steps=3)
  assert [program._cache_size() for program in programs] == before


@pytest.mark.parametrize(
  "shape",
  [
    pytest.param({"data": 2, "fsdp": 2, "tensor": 2}, marks=pytest.mark.slow),
    {"tensor": 2},
  ],
  ids=str,
)
def test_on_a_mesh_as_on_one_device(model, shape):
  model = golden_data.model("forward_a")
  devices = jax.devices()[: int(np.prod(list(shape.values())))]
  mesh = sharding.make_mesh(shape, devices)
  graphdef, state = nnx.split(model)
  layout = sharding.shardings(sharding.abstract_with_sharding(state, mesh))
  spread = nnx.merge(graphdef, jax.device_put(state, layout))
  engine = Engine(spread, eos_id=EOS, num_rows=3, context=CONTEXT, mesh=mesh)
  assert engine.num_rows == (4 if "data" in shape else 3)
  batch = [
    Request([5, n, 7], clip, config)
    for n, clip, config in zip(
      (8, 9, 10, 9, 12),
      (CLIPS[1], None, CLIPS[2], CLIPS[2], None),
      (GREEDY, DRAWN, GREEDY, DRAWN, GREEDY),
      strict=True,
    )
  ]
  answers, _ = finish(engine, [engine.submit(r) for r in batch])
  assert answers == [alone(model, r) for r in batch]


def test_an_answer_is_cut_where_the_context_ends(model):
  engine = Engine(model, eos_id=-1, num_rows=1, context=40)
  request = Request([4] * 5, CLIPS[1], GREEDY)
  [answer], ended = finish(engine, [engine.submit(request)])
  assert len(answer) == 40 - 32 - 5 and ended == ["length"]
  assert answer == alone(model, request)[:3]


@pytest.mark.parametrize(
  "request_, message",
  [
    (Request([]), "prompt is empty"),
    (Request([199]), r"outside 0\.\.198"),
    (Request([1], seed=-1), "seed is -1; it must be 0 to 4294967295"),
    (Request([1] * CONTEXT), "takes 96 tokens.* room for 96"),
    (Request([1] * 64, CLIPS[1]), "takes 96 tokens"),
    (Request([1], np.zeros(0, np.int16)), "clip has no samples"),
  ],
)
def test_unfit_requests(engine, request_, message):
  with pytest.raises(RequestError, match=message):
    engine.submit(request_)
  assert engine.idle
