"""The client and its errors, against real sockets and openai's own client."""

import builtins
import socket
import time

import pytest

import http_script
from ltu_jax.endpoint import client as client_lib
from ltu_jax.endpoint.errors import EndpointError, NoReplyError

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
  monkeypatch.setenv("OPENAI_API_KEY", KEY)
  monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def ask(made):
  with client_lib.explained(made, "judge-1"):
    return made.chat.completions.create(
      model="judge-1", messages=[{"role": "user", "content": "x"}]
    )


def failure(*answers, retries=0):
  """The error, and how many requests came."""
  with http_script.serving(*answers) as server:
    made = client_lib.client(server.url, retries=retries, timeout=5)
    with pytest.raises(NoReplyError) as caught:
      ask(made)
  message = str(caught.value)
  assert KEY not in message and "\n" not in message
  assert server.url in message
  return caught.value, len(server.requests)


def test_asks_with_the_key_of_the_environment(monkeypatch):
  monkeypatch.setenv("OTHER_KEY", "  sk-other\n")
  with http_script.serving(http_script.says("Yes")) as server:
    made = client_lib.client(server.url, "OTHER_KEY")
    assert ask(made).choices[0].message.content == "Yes"
  (request,) = server.requests
  assert request.path == "/v1/chat/completions"
  assert request.headers["authorization"] == "Bearer sk-other"


def test_base_url_of_the_environment(monkeypatch):
  with http_script.serving(http_script.says("No")) as server:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ask(client_lib.client(None)).choices[0].message.content == "No"


@pytest.mark.parametrize(
  "url",
  [
    "http://localhost:1/v1",
    "http://127.0.0.1:1/v1",
    "http://[::1]:1/v1",
    "http://192.168.1.7/v1",
    "http://gpu-box:8000/v1",
    "http://gpu.local/v1",
  ],
)
def test_local_servers_need_no_key(url, monkeypatch):
  monkeypatch.delenv("OPENAI_API_KEY")
  assert client_lib.client(url).api_key


@pytest.mark.parametrize("url", [None, "https://api.openai.com/v1"])
def test_others_need_one(url, monkeypatch):
  monkeypatch.setenv("OPENAI_API_KEY", " ")
  with pytest.raises(EndpointError, match="OPENAI_API_KEY"):
    client_lib.client(url)


@pytest.mark.parametrize("key", ["sk-a b", "sk-\N{LATIN SMALL LETTER U}\u00fc"])
def test_a_key_that_is_none_is_not_shown(key, monkeypatch):
  monkeypatch.setenv("OPENAI_API_KEY", key)
  with pytest.raises(EndpointError, match="OPENAI_API_KEY") as caught:
    client_lib.client(None)
  assert key not in str(caught.value)


@pytest.mark.parametrize(
  "url", ["localhost:80", "ftp://x/v1", "http://", "http://[::1/v1", "http:/x"]
)
def test_urls_that_are_none(url):
  with pytest.raises(EndpointError, match="base URL"):
    client_lib.client(url)


def test_password_of_a_url_is_not_shown():
  assert client_lib.shown("https://u:pw@h:1/v1/?key=3") == "https://h:1/v1"


def test_package_is_missing(monkeypatch):
  real = builtins.__import__

  def without(name, *rest, **more):
    if name == "openai":
      raise ImportError(name)
    return real(name, *rest, **more)

  monkeypatch.setattr(builtins, "__import__", without)
  with pytest.raises(EndpointError, match="evaluate"):
    client_lib.client(None)


def test_wrong_key_that_the_server_repeats():
  body = http_script.error(f"Incorrect API key\nprovided: {KEY}.")
  error, asked = failure((401, body), retries=3)
  assert "key is not accepted" in str(error)
  assert error.lasting and asked == 1


def test_no_such_model():
  error, asked = failure((404, http_script.error("gone")), retries=3)
  assert "'judge-1'" in str(error) and error.lasting and asked == 1


def test_out_of_quota():
  body = http_script.error("You exceeded", code="insufficient_quota")
  error, _ = failure((429, body))
  assert "out of quota" in str(error) and error.lasting


def test_too_many_requests():
  error, asked = failure(
    *[(429, http_script.error("slow down"), {"Retry-After": "0.01"})] * 3,
    retries=2,
  )
  assert "after 2 retries" in str(error) and not error.lasting
  assert asked == 3


def test_waits_as_long_as_the_server_asks():
  busy = (429, http_script.error("busy"), {"Retry-After": "1"})
  with http_script.serving(busy, http_script.says("Yes")) as server:
    start = time.monotonic()
    ask(client_lib.client(server.url))
  # Without the header the first wait is at most 0.5 s.
  assert time.monotonic() - start >= 1


def test_goes_on_after_a_failure_of_the_server():
  broken = (500, b"boom")
  with http_script.serving(broken, http_script.says("Yes")) as server:
    assert (
      ask(client_lib.client(server.url)).choices[0].message.content == "Yes"
    )
  assert len(server.requests) == 2


def test_server_that_fails():
  error, _ = failure((500, http_script.error("boom")))
  assert "500" in str(error) and "boom" in str(error) and not error.lasting


def test_bad_request():
  error, _ = failure((400, http_script.error("too long")))
  assert "too long" in str(error) and not error.lasting


@pytest.mark.parametrize("body", [b'{"choices": [', b"", b"\xff\xfe{}"])
def test_answer_that_is_no_json(body):
  error, _ = failure((200, body))
  assert "/v1" in str(error) and not error.lasting


@pytest.mark.parametrize(
  "body",
  [b'{"detail": "the reason"}', b"the reason", b'{"error": "the reason"}'],
)
def test_words_of_other_servers(body):
  error, _ = failure((400, body))
  assert "the reason" in str(error)


def test_long_words_are_cut():
  error, _ = failure((500, http_script.error("x" * 10_000)))
  assert "xxx" in str(error) and len(str(error)) < 500


def test_nobody_listens():
  with socket.create_server(("127.0.0.1", 0)) as taken:
    port = taken.getsockname()[1]
  made = client_lib.client(f"http://127.0.0.1:{port}/v1", retries=0)
  with pytest.raises(NoReplyError, match="no connection") as caught:
    ask(made)
  assert caught.value.lasting and f":{port}/v1" in str(caught.value)


def test_no_answer_in_time():
  with socket.create_server(("127.0.0.1", 0)) as silent:
    port = silent.getsockname()[1]
    made = client_lib.client(
      f"http://127.0.0.1:{port}/v1", retries=0, timeout=0.2
    )
    with pytest.raises(NoReplyError, match=r"0\.2 s") as caught:
      ask(made)
  assert not caught.value.lasting
