"""Many threads and coroutines ask one service; each gets its own answer."""

import asyncio
import concurrent.futures
import dataclasses
import time

import numpy as np
import pytest

import letters
from ltu_jax import sampling
from ltu_jax.answers.answerer import Answerer, Question
from ltu_jax.answers.request import RequestError
from ltu_jax.serve import service as service_lib

SHORT = dataclasses.replace(sampling.GREEDY, max_new_tokens=24)
LONG = dataclasses.replace(sampling.GREEDY, max_new_tokens=100_000)


@pytest.fixture(scope="module")
def make():
  model, tokenizer = letters.model(), letters.Letters(eos_id=-1)
  return lambda: Answerer(model, tokenizer, num_rows=2, context=1024)


@pytest.fixture
def service(make):
  service = service_lib.Service(make, waiting=2)
  yield service
  service.stop(0)


def ask(service, question):
  *_, last = service.stream(question)
  return last.answer.text


def wait_for(condition, seconds=30):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.01)


def clip(number):
  rng = np.random.default_rng(number)
  noise = rng.normal(size=20_000 * (number + 1)) * 10 ** (1 + number / 3)
  return noise.clip(-(2**15), 2**15 - 1).astype(np.int16)


def questions(count):
  return [Question("What?", clip(n), config=SHORT) for n in range(count)]


def test_threads_get_their_own_answers(make):
  service = service_lib.Service(make, waiting=100)
  alone = [ask(service, q) for q in questions(8)]
  assert len(set(alone)) > 4
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda q: ask(service, q), questions(8) * 3))
  assert found == alone * 3
  assert service.num_open == 0
  service.stop()
  with pytest.raises(service_lib.StoppingError, match="being stopped"):
    ask(service, questions(1)[0])


def test_coroutines_get_their_own_answers(make):
  service = service_lib.Service(make, waiting=100)
  alone = [ask(service, q) for q in questions(4)]

  async def one(question):
    return [piece async for piece in service.astream(question)]

  async def main():
    return await asyncio.gather(*map(one, questions(4)))

  for pieces, want in zip(asyncio.run(main()), alone, strict=True):
    assert len(pieces) > 1
    assert "".join(p.text for p in pieces) == pieces[-1].answer.text == want
  service.stop()


def test_too_many_are_refused_and_told_when_to_come_again(service):
  streams = [service.stream(Question("What?", config=LONG)) for _ in range(2)]
  for stream in streams:
    next(stream)
  asked = concurrent.futures.ThreadPoolExecutor(2)
  late = [asked.submit(ask, service, questions(1)[0]) for _ in range(2)]
  wait_for(lambda: service.num_open == 4)
  with pytest.raises(service_lib.BusyError, match="ask again in 1 s") as raised:
    ask(service, questions(1)[0])
  assert raised.value.retry_after == 1
  # Those who leave make room: nobody waits for answers that nobody reads.
  for stream in streams:
    stream.close()
  assert late[0].result(60) == late[1].result(60) != ""
  wait_for(lambda: service.num_open == 0)


def test_a_coroutine_that_is_cancelled_takes_its_question_back(service):
  async def main():
    stream = service.astream(Question("What?", config=LONG))
    await anext(stream)
    assert service.num_active == 1
    await stream.aclose()

  asyncio.run(main())
  wait_for(lambda: service.num_open == service.num_active == 0)


def test_an_answer_that_takes_too_long_is_given_up(make):
  service = service_lib.Service(make, seconds=0.5)
  question = Question("What?", config=LONG)
  with pytest.raises(service_lib.TooSlowError, match=r"within 0\.5 seconds"):
    ask(service, question)
  wait_for(lambda: service.num_active == 0)
  service.stop()


def test_a_mistake_is_the_askers_own(service):
  with pytest.raises(RequestError, match="the question is empty"):
    ask(service, Question(""))
  assert ask(service, questions(1)[0])


def test_stopping_finishes_what_is_open(make):
  service = service_lib.Service(make)
  stream = service.stream(questions(1)[0])
  next(stream)
  service.stop(60)
  *_, last = stream
  assert last.answer.ended == "length"


def test_stopping_does_not_wait_for_ever(make):
  service = service_lib.Service(make)
  stream = service.stream(Question("What?", config=LONG))
  next(stream)
  service.stop(0.1)
  with pytest.raises(service_lib.StoppingError, match="was stopped"):
    list(stream)


def test_after_a_failure_it_goes_on_with_a_new_engine(make):
  """A failure that JAX may have at any time, such as no more memory."""
  made = []

  def breaking():
    made.append(make())
    return made[-1]

  service = service_lib.Service(breaking)
  stream = service.stream(Question("What?", config=LONG))
  next(stream)

  def fail(steps):
    raise RuntimeError("RESOURCE_EXHAUSTED: no room")

  made[0].step = fail
  with pytest.raises(service_lib.ServiceError, match="RESOURCE_EXHAUSTED"):
    list(stream)
  assert ask(service, questions(1)[0])
  assert len(made) == 2 and service.healthy
  service.stop()


def test_what_cannot_be_made_again_is_not_healthy(make):
  answerers = iter([make()])
  service = service_lib.Service(lambda: next(answerers))
  service._answerer.step = None
  with pytest.raises(service_lib.ServiceError):
    ask(service, questions(1)[0])
  wait_for(lambda: not service.healthy)
  with pytest.raises(service_lib.ServiceError, match="has failed"):
    ask(service, questions(1)[0])
