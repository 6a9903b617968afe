"""A real small model judges, behind the server of transformers.

SmolLM2 with its 135 million parameters is a poor judge: what it says is
compared with what it generates without a server, not with what is right.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest
import torch
import transformers

import http_script
from ltu_jax.endpoint import cost
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.judging import prompt
from ltu_jax.evaluate.judging.judge import JudgeSettings, judge

pytestmark = pytest.mark.slow

PAIRS = [
  ("What sound does a dog make?", "Dogs bark."),
  ("Which instrument is played?", "A violin, slowly, in a large hall."),
  ("How many cars pass by?", "The weather is nice today."),
  ("Why might the person be laughing?", "Someone may have told a joke."),
  ("What could happen next?", ""),
]

JUDGE = """
import json, pathlib, sys
from ltu_jax.evaluate.judging.judge import JudgeSettings, judge
url, model, store, pairs = sys.argv[1:]
settings = JudgeSettings(model, url, workers=1)
pairs = [tuple(pair) for pair in json.loads(pairs)]
judge(pairs, settings, pathlib.Path(store), print)
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
  """As the server has: two that wait for each other take five times as long."""
  threads = torch.get_num_threads()
  torch.set_num_threads(1)
  yield
  torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(smollm2_served):
  return smollm2_served.folder


@pytest.fixture(scope="module")
def served(smollm2_served):
  return smollm2_served.url


def asked_about(request):
  """The pair that a request is about."""
  text = request.body["messages"][0]["content"]
  (found,) = [pair for pair in PAIRS if prompt.message(*pair) == text]
  return found


def forward(url, request):
  """The server's reply."""
  sent = urllib.request.Request(
    f"{url}/chat/completions",
    json.dumps(request.body).encode(),
    {"Content-Type": "application/json"},
  )
  with urllib.request.urlopen(sent, timeout=300) as reply:
    return reply.status, reply.read()


def killed_at_third(served, folder, store):
  """The pairs that the model saw of a judge that was killed meanwhile."""
  third, killed, seen = threading.Event(), threading.Event(), []

  def answer(request):
    if len(seen) == 2:
      third.set()
      killed.wait(300)
      return 500, b""
    seen.append(asked_about(request))
    return forward(served, request)

  with http_script.serving(answer=answer) as proxy:
    command = [sys.executable, "-c", JUDGE, proxy.url, str(folder), str(store)]
    process = subprocess.Popen([*command, json.dumps(PAIRS)])
    try:
      assert third.wait(300)
    finally:
      os.kill(process.pid, signal.SIGKILL)
      process.wait()
      killed.set()
  return seen


def test_judge_is_killed_and_goes_on(served, folder, tmp_path):
  store = tmp_path / "open.verdicts.jsonl"
  seen = killed_at_third(served, folder, store)
  assert len(seen) == 2 == len(store.read_text().splitlines())

  def answer(request):
    seen.append(asked_about(request))
    return forward(served, request)

  with http_script.serving(answer=answer) as proxy:
    settings = JudgeSettings(str(folder), proxy.url, workers=2, timeout=300)
    found = judge(PAIRS, settings, store, print)
  # The model was asked once about each, before the kill or after it.
  assert sorted(seen) == sorted(PAIRS)
  records = [json.loads(line) for line in store.read_text().splitlines()]
  assert len(records) == len(PAIRS)
  assert all(v.said and not v.error for v in found)
  assert [v.verdict for v in found] == [prompt.read(v.said) for v in found]
  compare(folder, {(r["question"], r["response"]): r for r in records})


def compare(folder, records):
  """What was said and counted, with the model without a server."""
  model = transformers.AutoModelForCausalLM.from_pretrained(
    folder, dtype="float32"
  )
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  for pair, record in records.items():
    text = prompt.message(*pair)
    ids = tokenizer.apply_chat_template(
      [{"role": "user", "content": text}],
      add_generation_prompt=True,
      return_tensors="pt",
      return_dict=True,
    )
    size = ids["input_ids"].shape[1]
    out = model.generate(**ids, max_new_tokens=16, do_sample=False)[0, size:]
    said = tokenizer.decode(out, skip_special_tokens=True)
    assert record["said"] == said
    assert record["tokens"] == [size, len(out)]
    # By letters alone: 25 % is what tokenizers differ by.
    assert cost.message_tokens(text) == pytest.approx(size, rel=0.25)


def test_model_that_is_not_there(served, tmp_path):
  settings = JudgeSettings("other/model", served, retries=0)
  with pytest.raises(EvaluateError) as caught:
    judge(PAIRS[:1], settings, tmp_path / "v.jsonl", print)
  message = str(caught.value)
  assert served in message and "HTTP 4" in message and "\n" not in message
