"""Sounds and questions as forms: the answers are those of the service."""

import concurrent.futures
import dataclasses
import json
import time

import httpx
import pytest
from fastapi.openapi.models import OpenAPI

import live
from ltu_jax import sampling
from ltu_jax.answers.answerer import Question
from ltu_jax.serve.answers_endpoint import AnswersBody
from ltu_jax.serve.errors import ErrorBody

SHORT = dataclasses.replace(sampling.GREEDY, max_new_tokens=12)
LONG = {"question": "What?", "max_new_tokens": "100000", "temperature": "0"}


def ask(service, question):
  *_, last = service.stream(question)
  return last.answer


def post(client, audio=None, **fields):
  files = {"audio": audio} if audio else {"no": (None, "")}
  if not audio:
    files = {name: (None, value) for name, value in fields.items()}
    fields = {}
  return client.post("/v1/answers", data=fields, files=files)


def test_a_sound_and_a_question(client, service):
  found = post(client, ("a.wav", live.wav(3)), question="What?", **live.FORM)
  assert found.status_code == 200
  body = AnswersBody.model_validate(found.json(), strict=True)
  want = ask(service, Question("What?", live.clip(3)[:, 0], config=SHORT))
  assert body.answer == want.text != ""
  assert (body.ended, body.finished) == ("length", False)
  assert body.usage.prompt_tokens == want.prompt_tokens
  assert body.usage.tokens == 12
  assert body.notes == body.others == []


def test_text_alone_with_a_dialogue_and_a_stop_string(client, service):
  said = (("Why?", "So."), ("How?", "Thus."))
  want = ask(service, Question("What?", before=said, config=SHORT)).text
  fields = live.FORM | {"question": "What?", "before": json.dumps(said)}
  assert post(client, **fields).json()["answer"] == want
  cut = post(client, **fields, stop=want[5]).json()
  assert cut["answer"] == want[: want.index(want[5])]
  assert cut["finished"]


def test_what_was_changed_of_the_sound_is_told(client):
  flac = live.wav(1, 10.5, 22050, 2, "flac")
  found = post(client, ("x.flac", flac), question="What?", **live.FORM)
  assert found.json()["notes"] == [
    "resampled from 22050 Hz",
    "first of 2 channels taken",
    "only the first 10.24 s of 10.5 s are heard",
  ]


def test_several_answers_with_one_seed(client, service):
  drawn = sampling.SamplingConfig(temperature=5.0, max_new_tokens=12)
  fields = {"question": "What?", "temperature": "5", "max_new_tokens": "12"}
  found = post(client, **fields, seed="7", n="3").json()
  answers = [found["answer"], *(other["answer"] for other in found["others"])]
  assert len(set(answers)) == 3
  assert answers == [
    ask(service, Question("What?", config=drawn, seed=7, sample=i)).text
    for i in range(3)
  ]


def test_a_stream_has_the_same_answer(client):
  fields = live.FORM | {"question": "What?"}
  whole = post(client, **fields).json()
  events = []
  with client.stream(
    "POST",
    "/v1/answers",
    data=fields | {"stream": "true"},
    files={"audio": b""},
  ) as found:
    assert found.status_code == 400  # a file of no bytes is no sound
  sent = {k: (None, v) for k, v in (fields | {"stream": "true"}).items()}
  with client.stream("POST", "/v1/answers", files=sent) as found:
    assert found.headers["content-type"].startswith("text/event-stream")
    for line in found.iter_lines():
      if line:
        events.append(line.partition(": ")[2])
  kinds, data = events[::2], [json.loads(text) for text in events[1::2]]
  assert kinds == ["text"] * (len(kinds) - 1) + ["answer"] and len(kinds) > 2
  assert "".join(d["text"] for d in data[:-1]) == data[-1]["answer"]
  assert data[-1]["answer"] == whole["answer"]


@pytest.mark.parametrize(
  ("fields", "audio", "message"),
  [
    ({}, None, "question: Field required"),
    ({"question": " "}, None, "the question is empty"),
    ({"question": "What?", "top_p": "2"}, None, "top_p: "),
    ({"question": "What?", "temperature": "1e-9"}, None, "at least 0.001"),
    ({"question": "What?", "temperature": "nan"}, None, "temperature: "),
    ({"question": "What?", "seed": str(2**32)}, None, "seed: "),
    ({"question": "What?", "top_k": str(2**40)}, None, "top_k: "),
    ({"question": "What?", "path": "/etc/passwd"}, None, "path: "),
    ({"question": "What?", "before": "[" * 9000}, None, "before: no JSON"),
    ({"question": "What?", "before": '[["\\ud800","a"]]'}, None, "unicode"),
    ({"question": "x" * 60_000}, None, "question: "),
    ({"question": "x" * 3000}, None, "raise the context"),
    ({"question": "What?"}, ("/a/b\\c.wav", b"RIFF"), "c.wav: cannot be dec"),
    ({"question": "What?"}, ("s.wav", live.wav(1, 0.01)), "s.wav: 10.0 ms"),
  ],
)
def test_mistakes_are_told(client, fields, audio, message):
  fields = fields or {"n": "1"}
  found = post(client, audio, **fields)
  assert found.status_code == 400
  body = ErrorBody.model_validate(found.json(), strict=True)
  assert message in body.error.message
  assert "/a/b" not in body.error.message


def test_forty_at_once_each_get_their_own(client, service, port):
  """None is lost, and none gets the answer to another's sound."""
  wavs = [live.wav(n) for n in range(8)]
  words = ["What?", "Who is it?"]
  asked = [(n, words[i % 2]) for i in range(5) for n in range(8)]
  alone = {
    key: ask(
      service, Question(key[1], live.clip(key[0])[:, 0], config=SHORT)
    ).text
    for key in set(asked)
  }
  assert len(set(alone.values())) > 8

  def one(key):
    with httpx.Client(base_url=client.base_url, timeout=120) as own:
      audio = (f"{key[0]}.wav", wavs[key[0]])
      found = post(own, audio, question=key[1], **live.FORM)
    return key, found.status_code, found.json().get("answer")

  with concurrent.futures.ThreadPoolExecutor(40) as pool:
    found = list(pool.map(one, asked))
  assert found == [(key, 200, alone[key]) for key in asked]
  live.wait_for(lambda: service.num_open == 0)


@pytest.mark.parametrize("stream", ["true", "false"])
def test_a_client_that_goes_away_frees_its_row(client, service, port, stream):
  form = LONG | {"stream": stream, "max_new_tokens": "1900"}
  request = client.build_request(
    "POST", "/v1/answers", files={k: (None, v) for k, v in form.items()}
  )
  body = request.read()
  head = "".join(f"{k}: {v}\r\n" for k, v in request.headers.items())
  sock = live.raw(port, f"POST /v1/answers HTTP/1.1\r\n{head}\r\n".encode())
  sock.sendall(body)
  live.wait_for(lambda: service.num_active == 1)
  if stream == "true":
    assert b"event: text" in sock.recv(4096) + sock.recv(4096)
  began = time.monotonic()
  sock.close()
  live.wait_for(lambda: service.num_open == service.num_active == 0)
  assert time.monotonic() - began < 20


def test_the_document_is_whole(client):
  document = client.get("/openapi.json").json()
  OpenAPI.model_validate(document)
  paths = set(document["paths"])
  assert paths == {
    *("/v1/answers", "/v1/chat/completions", "/v1/models"),
    *("/v1/models/{name}", "/healthz"),
  }
  schemas = document["components"]["schemas"]
  refs = set()

  def walk(value):
    if isinstance(value, dict):
      refs.add(value.get("$ref"))
      for part in value.values():
        walk(part)
    elif isinstance(value, list):
      for part in value:
        walk(part)

  walk(document)
  refs -= {None}
  assert {"#/components/schemas/" + name for name in schemas} >= refs
  form = document["paths"]["/v1/answers"]["post"]["requestBody"]["content"]
  fields = form["multipart/form-data"]["schema"]["properties"]
  assert fields["audio"]["anyOf"][0]["type"] == "string"
  assert client.get("/docs").status_code == 404
