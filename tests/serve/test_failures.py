"""What goes wrong while answers are made, as clients see it."""

import json
import signal
import subprocess
import sys

import httpx
import pytest

import live
import process_run
from ltu_jax.serve.app import Settings

LONG = {"max_new_tokens": "1900", "temperature": "0"}

CHAT = {
  "model": "ltu",
  "messages": [{"role": "user", "content": "What?"}],
  "max_tokens": 1900,
  "stream": True,
}

SERVER = """
import sys
sys.path[:0] = sys.argv[1:]
import live
from ltu_jax.serve import server
from ltu_jax.serve.app import Settings, make_app
with live.service() as service, server.bind("127.0.0.1", 0) as taken:
  server.run(make_app(service, Settings()), service, taken, 600)
"""


@pytest.fixture(scope="module")
def service():
  with live.service() as service:
    yield service


@pytest.fixture(scope="module")
def client(service):
  with (
    live.serving(service, Settings()) as port,
    httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
  ):
    yield client


def form(**fields):
  return {name: (None, value) for name, value in fields.items()}


def asked(client, **fields):
  files = form(question="What?", **fields)
  return client.post("/v1/answers", files=files)


def breaks(service, monkeypatch):
  """The next step fails as JAX may at any time; later engines are whole."""

  def fail(steps):
    raise RuntimeError("RESOURCE_EXHAUSTED: /a/place")

  monkeypatch.setattr(service._answerer, "step", fail)


def error(found):
  """Type, code and message of an error, and that no more is told."""
  assert set(found) == {"error"}
  assert "RESOURCE" not in found["error"]["message"]
  return found["error"]["type"], found["error"]["code"]


def test_an_answer_that_takes_too_long(client, service, monkeypatch):
  with monkeypatch.context() as changed:
    changed.setattr(service, "seconds", 0.01)
    found = asked(client, **LONG)
  assert found.status_code == 504
  assert error(found.json()) == ("timeout_error", "timeout")
  assert "within 0.01 seconds" in found.json()["error"]["message"]


def test_a_service_that_stops():
  with (
    live.service() as own,
    live.serving(own, Settings()) as port,
    httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client,
  ):
    own.stop()
    found = asked(client, **live.FORM)
  assert found.status_code == 503
  assert error(found.json()) == ("service_unavailable_error", "stopping")


def test_a_failure_of_the_engine(client, service, monkeypatch):
  breaks(service, monkeypatch)
  found = asked(client, **live.FORM)
  assert found.status_code == 503
  assert error(found.json()) == ("service_unavailable_error", None)
  assert asked(client, **live.FORM).status_code == 200


@pytest.mark.parametrize(
  ("path", "body"),
  [
    ("/v1/answers", {"files": form(question="What?", stream="true", **LONG)}),
    ("/v1/chat/completions", {"json": CHAT}),
  ],
)
def test_an_error_in_the_middle_of_a_stream(
  client, service, monkeypatch, path, body
):
  with client.stream("POST", path, **body) as found:
    assert found.status_code == 200
    lines = found.iter_lines()
    assert '"error"' not in "".join(next(lines) for _ in range(4))
    breaks(service, monkeypatch)
    *_, kind, data, end = lines
  assert end == "" and kind == ("event: error" if "answers" in path else "")
  told = json.loads(data.removeprefix("data: "))
  assert error(told) == ("service_unavailable_error", None)
  assert asked(client, **live.FORM).status_code == 200


def test_a_second_signal_ends_it_at_once():
  tests = process_run.ROOT / "tests"
  with subprocess.Popen(
    [sys.executable, "-c", SERVER, str(tests), str(tests / "serve")],
    cwd=process_run.ROOT,
    env=process_run.environment(1),
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    try:
      url = process.stdout.readline().split()[-1]
      files = form(question="What?", stream="true", **LONG)
      with httpx.stream(
        "POST", f"{url}/v1/answers", files=files, timeout=60
      ) as found:
        lines = found.iter_lines()
        assert next(lines) == "event: text"
        process.send_signal(signal.SIGTERM)
        live.wait_for(lambda: httpx.get(f"{url}/healthz").status_code == 503)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.RemoteProtocolError):
          list(lines)
      out, err = process.communicate(timeout=20)
    finally:
      process.kill()
  assert (process.returncode, out, err) == (128 + signal.SIGTERM, "", "")
