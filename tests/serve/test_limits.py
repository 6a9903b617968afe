"""Bodies that are too large, and who may ask, over raw sockets."""

import json

import pytest

import live
from ltu_jax.serve.access import allowed_hosts
from ltu_jax.serve.app import Settings

HEAD = "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
CHAT = HEAD.format(path="/v1/chat/completions", kind="application/json")
FORM = HEAD.format(path="/v1/answers", kind="multipart/form-data; boundary=b")


def status(answer):
  return int(answer.split(b" ", 2)[1])


def send(port, text):
  with live.raw(port, text.encode()) as sock:
    return live.answer_of(sock)


def test_a_length_above_the_limit_is_refused_unread(port):
  for head in (CHAT, FORM):
    found = send(port, f"{head}Content-Length: {3 << 20}\r\n\r\n")
    assert status(found) == 413 and b"over 2 MB" in found


def test_chunks_above_the_limit_are_refused(port, service):
  for head in (CHAT, FORM):
    with live.raw(
      port, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()
    ) as sock:
      chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
      for _ in range(30):
        sock.sendall(chunk)
      try:
        for _ in range(10):
          sock.sendall(chunk)
      except ConnectionError:
        pass
      assert status(live.answer_of(sock)) in (413, 400)
  assert service.num_open == 0


@pytest.mark.parametrize(
  ("body", "why"),
  [
    ("[" * 5000 + "]" * 5000, "nested too deeply"),
    ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
    ("[" + "0," * 30_000 + "0]", "too many values"),
    ("[]", "no JSON object"),
    ("{", "no JSON"),
    ("\x00", "no JSON"),
  ],
)
def test_hostile_json(client, body, why):
  found = client.post(
    "/v1/chat/completions",
    content=body,
    headers={"content-type": "application/json"},
  )
  assert found.status_code == 400
  assert why in found.json()["error"]["message"]


def test_hostile_forms(client):
  many = [(f"f{n}", (None, "x")) for n in range(3000)]
  found = client.post("/v1/answers", files=many)
  assert found.status_code == 400 and "Too many fields" in found.text
  two = [("audio", b"a"), ("audio", b"b")]
  assert client.post("/v1/answers", files=two).status_code == 400
  long = {"question": (None, "x" * (1 << 20))}
  found = client.post("/v1/answers", files=long)
  assert found.status_code == 400 and "maximum size" in found.text
  found = client.post("/v1/answers", json={"question": "What?"})
  assert found.status_code == 415
  assert client.post("/v1/chat/completions", data={}).status_code == 415


def test_a_slow_body_is_given_up():
  with (
    live.service() as service,
    live.serving(service, Settings(body_seconds=0.2)) as port,
  ):
    found = send(port, f"{CHAT}Content-Length: 20\r\n\r\n{{")
    assert status(found) == 408


def test_hosts(client, port):
  assert allowed_hosts("0.0.0.0", []) is None
  assert allowed_hosts("0.0.0.0", ["Me.example"]) == {"me.example"}
  assert "[::1]" in allowed_hosts("::1", [])
  get = lambda **headers: client.get("/v1/models", headers=headers).status_code
  assert get() == get(host="localhost:99") == 200
  assert get(host="evil.example") == get(host=f"evil.example:{port}") == 421
  own = f"127.0.0.1:{port}"
  assert get(origin=f"http://{own}", host=own) == 200
  for other in ("http://evil.example", "http://127.0.0.1:1", "null"):
    assert get(origin=other, host=own) == 403


def test_tokens():
  with (
    live.service() as service,
    live.serving(service, Settings(token="se:cret")) as port,
  ):

    def get(path, *more):
      lines = "".join(f"{line}\r\n" for line in ("Host: x", *more))
      return send(port, f"GET {path} HTTP/1.1\r\n{lines}\r\n")

    assert status(get("/healthz")) == 200
    for path in ("/v1/models", "/metrics", "/openapi.json", "/"):
      found = get(path)
      assert status(found) == 401
      assert b"www-authenticate: bearer" in found.lower()
      assert (b"basic" in found.lower()) == (not path.startswith("/v1/"))
    right = "Authorization: Bearer se:cret"
    assert status(get("/v1/models", right)) == 200
    assert status(get("/v1/models", f"{right}\xe9")) == 401
    assert (
      status(get("/metrics", "Authorization: Basic bWU6c2U6Y3JldA==")) == 200
    )
    assert status(get("/metrics", "Authorization: Basic bWU6c2U=")) == 401
    document = get("/openapi.json", right).partition(b"\r\n\r\n")[2]
    assert json.loads(document)["security"] == [{"token": []}]


def test_metrics_and_health(client, service):
  assert client.get("/healthz").json()["status"] == "ok"
  client.get("/nowhere/1")
  files = {"question": (None, "What?"), "max_new_tokens": (None, "3")}
  assert client.post("/v1/answers", files=files).status_code == 200
  rows = dict(
    line.rsplit(" ", 1)
    for line in client.get("/metrics").text.splitlines()
    if not line.startswith("#")
  )
  ok = 'ltu_requests_total{endpoint="/v1/answers",status="200"}'
  assert float(rows[ok]) >= 1
  assert 'ltu_requests_total{endpoint="other",status="404"}' in rows
  assert float(rows["ltu_tokens_total"]) >= 3
  assert float(rows["ltu_answer_seconds_count"]) >= 1
  assert float(rows["ltu_first_token_seconds_count"]) >= 1
  assert float(rows["ltu_capacity"]) == service.capacity
  service._stopping = True
  try:
    assert client.get("/healthz").status_code == 503
  finally:
    service._stopping = False
