"""`ask` over real HTTP; what the model says is written down here."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import ask_command
import http_script
from ltu_jax.aqa.__main__ import main
from ltu_jax.aqa.records import ClipRecord, Event, Span
from ltu_jax.endpoint.errors import EndpointError

CLIPS = [
  ClipRecord(
    f"clip{n}",
    "as_strong_train" if n % 2 else "clotho",
    (Event(f"Bell {n}", "Bright", (Span(0.0, 1.5),)),),
    ("A bell rings.",),
    f"audio/clip{n}.flac",
  )
  for n in range(6)
]


def number(request):
  """Which of the clips is asked about."""
  known = request.body["messages"][-1]["content"]
  (found,) = [
    n for n, clip in enumerate(CLIPS) if known.startswith(clip.meta_line())
  ]
  return found


def pairs(n):
  return [(f"What rings {n}?", f"Bell {n} \u4e2d."), ("Why?", "It is struck.")]


def say(request, **more):
  usage = {"prompt_tokens": 300, "completion_tokens": 100}
  return http_script.says(
    ask_command.reply(*pairs(number(request))), **usage | more
  )


def entries(clip, made):
  """The published format."""
  return [
    {
      "instruction": question,
      "input": "",
      "audio_id": clip.audio,
      "dataset": clip.dataset,
      "task": "open-ended question",
      "output": answer,
    }
    for question, answer in made
  ]


@pytest.fixture
def records(tmp_path):
  return ask_command.write_records(tmp_path / "records.jsonl", CLIPS)


@pytest.fixture
def out(tmp_path):
  return tmp_path / "out"


def ask(server, records, out, *more):
  flags = [f"--records={records}", f"--out={out}", "--model=gpt-test"]
  return ask_command.run("ask", *flags, f"--base_url={server.url}", *more)


def made(out):
  return json.loads((out / "open.json").read_bytes())


def replies(out):
  return [json.loads(x) for x in (out / "replies.jsonl").open()]


def wait_for(condition, seconds=60):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, "it did not come"
    time.sleep(0.02)


def report(out):
  return json.loads((out / "open_report.json").read_bytes())


def test_questions_of_all_clips(records, out, monkeypatch, capsys):
  monkeypatch.setenv("MY_KEY", "sk-mine")
  with http_script.serving(answer=say) as server:
    assert ask(server, records, out, "--key_name=MY_KEY") == 0
    first = (out / "open.json").read_bytes()
    assert json.loads(first) == [
      entry for n, c in enumerate(CLIPS) for entry in entries(c, pairs(n))
    ]
    assert "100.0%" in capsys.readouterr().err
    # All is there: nobody is asked, and the same comes out.
    assert ask(server, records, out, "--key_name=MY_KEY") == 0
    assert (out / "open.json").read_bytes() == first
    assert sorted(map(number, server.requests)) == list(range(6))
    # Another manner is asked anew.
    assert ask(server, records, out, "--limit=2", "--temperature=0.5") == 0
    assert len(made(out)) == 4 and len(server.requests) == 8
  request = server.requests[0]
  assert request.headers["authorization"] == "Bearer sk-mine"
  assert request.body["model"] == "gpt-test"
  assert request.body["max_tokens"] == 1024
  assert request.body["temperature"] == 1
  system, user = request.body["messages"]
  assert (system["role"], user["role"]) == ("system", "user")
  assert "10 open-ended questions" in system["content"]
  assert "step by step" in system["content"]
  meta, _, form = user["content"].partition("\n\n")
  assert meta.startswith("Sound Events: Sound of Bell")
  for word in ('{"q": ', '"a": ', "JSON object on a line of its own"):
    assert word in form
  (kept,) = [line for line in replies(out)[:6] if line["clip"] == "clip3"]
  assert kept["said"] == ask_command.reply(*pairs(3))
  assert kept["tokens"] == [300, 100] and kept["known"] == CLIPS[3].meta_line()


def test_same_bytes_in_whatever_order_replies_come(records, tmp_path):
  came = {n: threading.Event() for n in range(len(CLIPS))}
  came[6] = threading.Event()
  came[6].set()

  def backwards(request):
    n = number(request)
    assert came[n + 1].wait(20)
    came[n].set()
    return say(request)

  with http_script.serving(answer=say) as server:
    ask(server, records, tmp_path / "a", "--workers=1")
  with http_script.serving(answer=backwards) as server:
    ask(server, records, tmp_path / "b", "--workers=6")
  for name in ("open.json", "open_report.json"):
    a, b = ((tmp_path / x / name).read_bytes() for x in "ab")
    assert a == b
  assert [line["clip"] for line in replies(tmp_path / "a")] == [
    clip.id for clip in CLIPS
  ]


def test_clips_of_which_the_same_is_known(tmp_path, out):
  same = [
    ClipRecord(f"owl{n}", "vggsound", (Event("Owl"),), (), f"{n}.wav")
    for n in range(3)
  ]
  records = ask_command.write_records(tmp_path / "r.jsonl", [*same, same[0]])
  answer = lambda request: http_script.says(
    ask_command.reply(("Who?", "An owl."))
  )
  with http_script.serving(answer=answer) as server:
    ask(server, records, out)
    assert len(server.requests) == 3  # drawn anew for each, for a clip once
    ask(server, records, out, "--temperature=0")
    assert len(server.requests) == 4
  assert [entry["audio_id"] for entry in made(out)] == [
    "0.wav",
    "1.wav",
    "2.wav",
    "0.wav",
  ]


def test_trouble_of_all_kinds(records, out, capsys):
  seen, ended = set(), threading.Event()

  def answer(request):
    n = number(request)
    if n in seen:
      return say(request)
    seen.add(n)
    if n == 0:
      return 429, http_script.error("slow down"), {"Retry-After": "0.01"}
    if n == 1:
      return 500, b"boom"
    if n == 2:
      ended.wait(20)  # longer than the request may take
      return 500, b""
    if n == 3:
      return 200, b'{"choices": ['
    if n == 4:
      whole = ask_command.reply(*pairs(n))
      return http_script.says(f"```json\n{whole[:-9]}", finish="length")
    return http_script.says("I am sorry.")

  with http_script.serving(answer=answer) as server:
    flags = ("--workers=6", "--retries=1", "--timeout=2")
    assert ask(server, records, out, *flags) == 1
    said = capsys.readouterr().err
    assert "1 clips have no reply" in said and "not of OpenAI's API" in said
    assert report(out) == {
      "records": 6,
      "replies": 5,
      "cut": 1,
      "without": 1,
      "pairs": 7,
      "dropped": {"cut": 1},
      "share": 7 / 8,
    }
    assert ask(server, records, out) == 0
    ended.set()
  # Asked again were those that failed, and not those that said little.
  again = [number(request) for request in server.requests]
  assert sorted(again) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]
  want = [pairs(n)[: {4: 1, 5: 0}.get(n, 2)] for n in range(6)]
  assert made(out) == [
    e for c, each in zip(CLIPS, want, strict=True) for e in entries(c, each)
  ]


def test_killed_and_gone_on(records, out):
  fourth, killed = threading.Event(), threading.Event()

  def answer(request):
    if len(server.requests) == 4:
      # A reply is written while the next is asked for.
      file = out / "replies.jsonl"
      wait_for(lambda: file.read_bytes().count(b"\n") == 3)
      fourth.set()
      killed.wait(60)
    return say(request)

  with http_script.serving(answer=answer) as server:
    command = [sys.executable, "-m", "ltu_jax.aqa", "ask", "--workers=1"]
    command += [f"--records={records}", f"--out={out}", "--model=gpt-test"]
    process = subprocess.Popen([*command, f"--base_url={server.url}"])
    try:
      assert fourth.wait(60)
    finally:
      os.kill(process.pid, signal.SIGKILL)
      process.wait()
      killed.set()
    assert len(replies(out)) == 3 and not (out / "open.json").exists()
    # What the kill might have left of the next line.
    with (out / "replies.jsonl").open("ab") as file:
      file.write((out / "replies.jsonl").read_bytes()[:70])
    assert ask(server, records, out) == 0
  asked = [number(request) for request in server.requests]
  assert sorted(asked) == sorted([*range(6), asked[3]])
  assert len(made(out)) == 12


def test_cost_stays_under_what_it_may(records, out, capsys):
  # 300 tokens in at 1000 and 100 out at 2000 a million cost 0.5, but 1024 out
  # and some 320 in are 2.37: after five, 2.5 and 2.37 would be over 4.5.
  prices = ("--prices=1000,2000", "--workers=3")
  with http_script.serving(answer=say) as server:
    assert ask(server, records, out, *prices, "--max_cost=4.5") == 1
    told = capsys.readouterr().err
    assert len(server.requests) == len(replies(out)) == 5
    assert "have cost 2.5." in told and "--max_cost" in told
    assert "6 requests" in told and "together about 14." in told
    assert len(made(out)) == 10
    # What was spent before counts: nothing more for the same.
    assert ask(server, records, out, *prices, "--max_cost=4.5") == 1
    assert len(server.requests) == 5
    assert ask(server, records, out, *prices, "--max_cost=9") == 0
  assert len(server.requests) == 6
  with pytest.raises(EndpointError, match="prices"):
    ask(server, records, out, "--max_cost=9")


def test_json_schema(records, out):
  def answer(request):
    whole = [{"q": q, "a": a} for q, a in pairs(number(request))]
    return http_script.says(json.dumps({"pairs": whole}, indent=1))

  with http_script.serving(answer=answer) as server:
    assert ask(server, records, out, "--json_schema") == 0
  assert len(made(out)) == 12 and report(out)["share"] == 1
  for request in server.requests:
    asked = request.body["response_format"]
    assert asked["type"] == "json_schema" and asked["json_schema"]["strict"]
    # The words that go with it ask for one object.
    assert '"pairs"' in request.body["messages"][1]["content"]
  assert replies(out)[0]["options"]["json_schema"] is True


@pytest.mark.parametrize(
  ("status", "body"),
  [
    (400, http_script.error("no", param="response_format")),
    (400, http_script.error("'json_schema' is not supported by this model")),
    (422, b'{"detail": "Unexpected fields in the request: response_format"}'),
  ],
)
def test_json_schema_is_refused(status, body, records, out, capsys):
  def answer(request):
    if "response_format" in request.body:
      return status, body
    return say(request)

  with http_script.serving(answer=answer) as server:
    assert ask(server, records, out, "--json_schema", "--workers=2") == 0
  assert len(made(out)) == 12
  # One refusal for each thread at most, told once.
  assert len(server.requests) <= 6 + 2
  assert capsys.readouterr().err.count("takes no JSON schema") == 1


def test_a_wrong_key_ends_it(records, out, capsys):
  answer = lambda request: (401, http_script.error("no such key"))
  flags = [f"--records={records}", f"--out={out}", "--model=gpt-test"]
  with http_script.serving(answer=answer) as server:
    flags += [f"--base_url={server.url}", "--workers=1"]
    assert main(["ask", *flags]) == 2
  assert len(server.requests) <= 2
  # The server may tell of a request that was broken off.
  lines = capsys.readouterr().err.splitlines()
  (told,) = [line for line in lines if line.startswith("aqa: ")]
  assert "key is not accepted" in told
