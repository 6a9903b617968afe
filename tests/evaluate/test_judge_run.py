"""Judging over real HTTP; what the judge says is written down here."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import http_script
from ltu_jax.endpoint import cost
from ltu_jax.endpoint.errors import EndpointError
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.judging import prompt
from ltu_jax.evaluate.judging.judge import JudgeSettings, Tally, judge

PAIRS = [(f"What is sound {n}?", f"It is number {n}.") for n in range(12)]


def number(request):
  """Which of the pairs is asked about."""
  text = request.body["messages"][0]["content"]
  (found,) = [
    n for n, pair in enumerate(PAIRS) if prompt.message(*pair) == text
  ]
  return found


def say(request):
  """Yes of even numbers."""
  words = ("Yes.", "**No**")[number(request) % 2]
  return http_script.says(words, prompt_tokens=100, completion_tokens=2)


def settings(server, **more):
  return JudgeSettings(
    **{"model": "judge-1", "base_url": server.url, "retries": 0} | more
  )


def run(server, store, pairs=PAIRS, **more):
  lines = []
  found = judge(pairs, settings(server, **more), store, lines.append)
  return found, lines


def failing(match, store, *answers, answer=None, pairs=PAIRS, **more):
  """The requests of a run that ends with an error."""
  with (
    http_script.serving(*answers, answer=answer) as server,
    pytest.raises((EndpointError, EvaluateError), match=match),
  ):
    run(server, store, pairs, **more)
  return server.requests


@pytest.fixture
def store(tmp_path):
  return tmp_path / "out" / "open.verdicts.jsonl"


def test_verdicts_are_in_order(store):
  with http_script.serving(answer=say) as server:
    found, lines = run(server, store, workers=5)
  assert [v.verdict for v in found] == ["yes", "no"] * 6
  assert [v.said for v in found] == ["Yes.", "**No**"] * 6
  assert sorted(map(number, server.requests)) == list(range(12))
  assert Tally.of(found) == Tally(6, 6, 0, 0) and Tally.of(found).rate == 0.5
  assert "12 requests" in lines[0] and "no prices" in lines[0]
  body = server.requests[0].body
  assert body["temperature"] == 0 and body["max_tokens"] == 16
  assert body["model"] == "judge-1"


def test_second_run_asks_only_what_is_new(store, monkeypatch):
  with http_script.serving(answer=say) as server:
    run(server, store, PAIRS[:5])
    first = store.read_bytes()
    found, lines = run(server, store)
    assert [v.verdict for v in found] == ["yes", "no"] * 6
    assert "7 requests" in lines[0] and "5 of 12" in lines[1]
    assert sorted(map(number, server.requests)) == list(range(12))
    assert store.read_bytes().startswith(first)
    run(server, store, model="judge-2")
    assert len(server.requests) == 24
  # Nobody to ask, nothing to ask.
  monkeypatch.delenv("OPENAI_API_KEY", raising=False)
  found, lines = run(server, store, base_url=None)
  assert [v.verdict for v in found] == ["yes", "no"] * 6 and lines == []


def test_other_words_are_asked_anew(store, monkeypatch):
  with http_script.serving(answer=say) as server:
    run(server, store, PAIRS[:2])
    monkeypatch.setattr(prompt, "PROMPT", prompt.PROMPT + " ")
    run(server, store, PAIRS[:2])
  assert len(server.requests) == 4


def test_same_pairs_are_asked_once(store):
  with http_script.serving(answer=say) as server:
    found, _ = run(server, store, [PAIRS[0], PAIRS[1], PAIRS[0]])
  assert [v.verdict for v in found] == ["yes", "no", "yes"]
  assert len(server.requests) == 2


def test_no_more_at_once_than_workers(store):
  here, most, lock = [0], [0], threading.Lock()
  barrier = threading.Barrier(3, timeout=20)

  def answer(request):
    with lock:
      here[0] += 1
      most[0] = max(most[0], here[0])
    barrier.wait()  # passes only when three are here
    with lock:
      here[0] -= 1
    return say(request)

  with http_script.serving(answer=answer) as server:
    run(server, store, workers=3)
  assert most[0] == 3


def test_line_of_a_verdict(store):
  pair = ("Wer \u2028 bellt?", " Ein Hund \N{DOG}")
  with http_script.serving(http_script.says("Well ...")) as server:
    found, _ = run(server, store, [pair])
  assert found[0].verdict == "unclear"
  (line,) = store.read_text().splitlines()
  record = json.loads(line)
  assert (record["question"], record["response"]) == pair
  assert record["said"] == "Well ..." and record["model"] == "judge-1"
  assert record["options"] == {"temperature": 0, "max_tokens": 16}


def test_one_failure_loses_nothing_else(store):
  bad = [True]

  def answer(request):
    if number(request) == 3 and bad[0]:
      return 400, http_script.error("too long for me")
    if number(request) == 5 and bad[0]:
      return 200, b'{"choices": ['
    if number(request) == 7 and bad[0]:
      return 200, b'{"choices": []}'
    return say(request)

  with http_script.serving(answer=answer) as server:
    found, lines = run(server, store)
    assert [n for n, v in enumerate(found) if v.error] == [3, 5, 7]
    assert "too long for me" in found[3].error and found[3].verdict == ""
    assert Tally.of(found) == Tally(6, 3, 0, 3)
    assert any("too long for me" in line for line in lines)
    bad[0] = False
    found, _ = run(server, store)
    assert [v.verdict for v in found] == ["yes", "no"] * 6
  assert len(server.requests) == 12 + 3


def test_one_failure_after_all_others_were_judged(store):
  with http_script.serving(answer=say) as server:
    run(server, store, PAIRS[:-1])
  with http_script.serving((400, http_script.error("too long"))) as server:
    found, _ = run(server, store)
  assert [bool(v.error) for v in found] == [False] * 11 + [True]


def test_wrong_key_stops_at_once(store):
  def answer(request):
    return 401, http_script.error("no such key")

  # Each of the two workers may have taken one more meanwhile.
  asked = failing("key is not accepted", store, answer=answer, workers=2)
  assert len(asked) <= 4


def test_quota_that_ends_keeps_what_came_before(store):
  def answer(request):
    if number(request) < 6:
      return say(request)
    return 429, http_script.error("no money", code="insufficient_quota")

  failing("out of quota", store, answer=answer, workers=1)
  assert len(store.read_text().splitlines()) == 6
  with http_script.serving(answer=say) as server:
    run(server, store)
  assert sorted(map(number, server.requests)) == list(range(6, 12))


def test_all_failed_is_an_error(store):
  answers = [(400, http_script.error("bad"))] * 3
  assert len(failing("bad", store, *answers, pairs=PAIRS[:3])) == 3


def test_many_failures_in_a_row_stop(store):
  def answer(request):
    if number(request) == 0:
      return say(request)
    return 500, b"boom"

  asked = failing("10 in a row", store, answer=answer, workers=1)
  # The worker may have sent one more before it was told to stop.
  assert len(asked) in (11, 12)


def test_waits_and_goes_on_when_busy(store):
  seen = set()

  def answer(request):
    n = number(request)
    if n in seen:
      return say(request)
    seen.add(n)
    wait = {"Retry-After": "0.01"}
    return (429, 500)[n % 2], http_script.error("busy"), wait

  with http_script.serving(answer=answer) as server:
    found, _ = run(server, store, PAIRS[:4], retries=2)
  assert [v.verdict for v in found] == ["yes", "no"] * 2
  assert len(server.requests) == 8


def test_cost_is_told_and_limited_before_it_starts(store):
  prices = cost.Prices(2.5, 10)
  assert failing("may cost", store, prices=prices, max_cost=0.001) == []
  assert failing("prices", store, max_cost=1) == []
  with http_script.serving(answer=say) as server:
    _, lines = run(server, store, prices=prices, max_cost=0.1)
  assert "together about 0.00" in lines[0]


def test_cost_is_limited_while_it_runs(store):
  before = [0]

  def answer(request):
    # The run is never more than one verdict behind.
    end = time.monotonic() + 60
    while store.read_bytes().count(b"\n") < before[0] - 1:
      assert time.monotonic() < end
      time.sleep(0.005)
    before[0] += 1
    return http_script.says("yes", prompt_tokens=10**6, completion_tokens=0)

  more = {"prices": cost.Prices(1, 0), "max_cost": 2.5, "workers": 1}
  asked = failing(r"has cost [345], and", store, answer=answer, **more)
  done = store.read_bytes().count(b"\n")
  assert 3 <= done == len(asked) <= 5
  # A run of its own may cost as much anew.
  with http_script.serving(answer=answer) as server:
    run(server, store, PAIRS[: done + 2], **more)
  assert len(server.requests) == 2


def test_limit(store):
  with http_script.serving(answer=say) as server:
    found, _ = run(server, store, limit=3)
  assert len(found) == 3 and len(server.requests) == 3


def test_models_that_take_other_options(store):
  # The answers of OpenAI's reasoning models.
  def answer(request):
    for name in ("max_tokens", "temperature"):
      if name in request.body:
        words = f"Unsupported: '{name}'"
        more = {"param": name, "code": "unsupported_parameter"}
        return 400, http_script.error(words, **more)
    return say(request)

  with http_script.serving(answer=answer) as server:
    found, _ = run(server, store, workers=1)
  assert [v.verdict for v in found] == ["yes", "no"] * 6
  assert len(server.requests) == 12 + 2
  assert server.requests[-1].body["max_completion_tokens"] == 16


def test_thoughts_that_fill_the_answer(store):
  status, body = http_script.says("<think>hm, the question")
  reply = json.loads(body)
  reply["choices"][0]["finish_reason"] = "length"
  answer = (status, json.dumps(reply).encode())
  failing("all 16 tokens", store, answer, pairs=PAIRS[:1])


def test_refusal_is_unclear(store):
  status, body = http_script.says(None)
  reply = json.loads(body)
  reply["choices"][0]["message"]["refusal"] = "I will not."
  with http_script.serving((status, json.dumps(reply).encode())) as server:
    found, _ = run(server, store, PAIRS[:1])
  assert (found[0].verdict, found[0].said) == ("unclear", "I will not.")
  assert Tally.of(found).rate == 0


KILLED = """
import json, pathlib, sys
from ltu_jax.evaluate.judging.judge import JudgeSettings, judge
url, store, pairs = sys.argv[1:]
pairs = [tuple(pair) for pair in json.loads(pairs)]
settings = JudgeSettings("judge-1", url, workers=1, retries=0)
judge(pairs, settings, pathlib.Path(store), print)
"""


def test_killed_and_gone_on(store):
  seventh, killed = threading.Event(), threading.Event()

  def answer(request):
    if len(server.requests) == 7:
      seventh.set()
      killed.wait(60)
    return say(request)

  with http_script.serving(answer=answer) as server:
    command = [sys.executable, "-c", KILLED, server.url, str(store)]
    process = subprocess.Popen([*command, json.dumps(PAIRS)])
    try:
      assert seventh.wait(60)
    finally:
      os.kill(process.pid, signal.SIGKILL)
      process.wait()
      killed.set()
    # What the kill might have left of the line that would have come next.
    with store.open("ab") as file:
      file.write(store.read_bytes().splitlines()[0][:50])
    found, _ = run(server, store)
  assert [v.verdict for v in found] == ["yes", "no"] * 6
  # The seventh got no answer and is asked again; no other is.
  asked = [number(request) for request in server.requests]
  assert sorted(asked) == sorted([*range(12), asked[6]])
