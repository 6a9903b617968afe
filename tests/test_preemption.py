"""The notice of a preemption, from a server like Google's."""

import contextlib
import http.server
import json
import queue
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from ltu_jax import preemption

LONG = 60
QUIET = {"preempted": "FALSE", "maintenanceEvent": "NONE", "name": "vm"}


class _Handler(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    server = self.server
    url = urllib.parse.urlsplit(self.path)
    query = dict(urllib.parse.parse_qsl(url.query))
    server.asked.append(query)
    if self.headers.get("Metadata-Flavor") != "Google":
      self.answer(403, b"")
      return
    if server.bad:
      server.bad.pop(0)(self)
      return
    assert url.path == "/computeMetadata/v1/instance/"
    assert query["recursive"] == "true"
    with server.changed:
      if query.get("wait_for_change") == "true":
        # As documented: answers when the version is another, or in time.
        server.changed.wait_for(
          lambda: query["last_etag"] != server.etag or server.stopped,
          float(query["timeout_sec"]),
        )
      body, etag = json.dumps(server.instance).encode(), server.etag
    self.answer(200, body, etag)

  def answer(self, status, body, etag=None):
    self.send_response(status)
    self.send_header("Metadata-Flavor", "Google")
    self.send_header("Content-Length", str(len(body)))
    if etag:
      self.send_header("ETag", etag)
    self.end_headers()
    self.wfile.write(body)

  def log_message(self, *unused):
    pass


class Server(http.server.ThreadingHTTPServer):
  def __init__(self):
    super().__init__(("127.0.0.1", 0), _Handler)
    self.asked, self.bad, self.stopped = [], [], False
    self.changed = threading.Condition()
    self.instance, self.etag = QUIET, "e0"

  def handle_error(self, *unused):
    pass  # whoever asked hung up

  @property
  def host(self):
    return f"127.0.0.1:{self.server_port}"

  def change(self, **values):
    with self.changed:
      self.instance = self.instance | values
      self.etag = f"e{int(self.etag[1:]) + 1}"
      self.changed.notify_all()


@pytest.fixture
def server():
  with Server() as made:
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    with made.changed:
      made.stopped = True
      made.changed.notify_all()
    made.shutdown()
    thread.join()


@contextlib.contextmanager
def watching(host, monkeypatch, **times):
  """The notices that come."""
  monkeypatch.setenv("GCE_METADATA_HOST", host)
  notices = queue.SimpleQueue()
  times = {"pause_seconds": 0.02, "retry_seconds": 0.02} | times
  watcher = preemption.start(notices.put, **times)
  try:
    yield notices
  finally:
    watcher.close()


def until(condition):
  start = time.monotonic()
  while not condition():
    assert time.monotonic() - start < LONG
    time.sleep(0.01)


def is_waiting(server):
  """Whether the last question is for what comes after the last change."""
  asked = server.asked[-1:]
  return any(query.get("last_etag") == server.etag for query in asked)


@pytest.mark.parametrize(
  ("field", "value", "words"),
  [
    ("preempted", "TRUE", "preempts"),
    (
      "maintenanceEvent",
      "TERMINATE_ON_HOST_MAINTENANCE",
      "TERMINATE_ON_HOST_MAINTENANCE",
    ),
  ],
)
def test_notice_comes_once(server, monkeypatch, field, value, words):
  with watching(server.host, monkeypatch) as notices:
    until(lambda: is_waiting(server))
    server.change(**{field: value})
    assert words in notices.get(timeout=LONG)
    count = len(server.asked)
    server.change(name="other")
    assert notices.empty() and len(server.asked) == count


def test_other_changes_are_no_notice(server, monkeypatch):
  with watching(server.host, monkeypatch) as notices:
    for number in range(3):
      until(lambda: is_waiting(server))
      server.change(
        maintenanceEvent="MIGRATE_ON_HOST_MAINTENANCE", name=str(number)
      )
    until(lambda: is_waiting(server))
    assert notices.empty()


def test_a_notice_from_before_is_told(server, monkeypatch):
  server.change(preempted="TRUE")
  with watching(server.host, monkeypatch) as notices:
    assert "preempts" in notices.get(timeout=LONG)


def test_a_wait_that_ends_without_change_is_begun_again(server, monkeypatch):
  with watching(server.host, monkeypatch, wait_seconds=1) as notices:
    until(lambda: len(server.asked) > 2)
    server.change(preempted="TRUE")
    assert notices.get(timeout=LONG)


def _garbage(body, etag="e9"):
  return lambda handler: handler.answer(200, body, etag)


def _reset(handler):
  handler.close_connection = True
  handler.connection.shutdown(socket.SHUT_RDWR)


def _not_http(handler):
  handler.wfile.write(b"hello\r\n\r\n")
  handler.close_connection = True


def _half(handler):
  handler.send_response(200)
  handler.send_header("Content-Length", "1000")
  handler.end_headers()
  handler.wfile.write(b"{")
  handler.close_connection = True


def test_bad_answers_are_asked_again(server, monkeypatch):
  server.bad = [
    lambda handler: handler.answer(503, b""),
    lambda handler: handler.answer(404, b""),
    _garbage(b"hello"),
    _garbage(b"\xff\xfe\x00"),
    _garbage(b"[]"),
    _garbage(b"{}", None),
    _reset,
    _not_http,
    _half,
  ]
  with watching(server.host, monkeypatch) as notices:
    until(lambda: is_waiting(server))
    assert not server.bad
    # Also while it waits, and no version is taken from an answer in error.
    server.bad = [lambda handler: handler.answer(503, b""), _garbage(b"?")]
    server.change(name="other")
    until(lambda: not server.bad)
    server.change(preempted="TRUE")
    assert notices.get(timeout=LONG)


def test_a_server_that_hangs_is_left(server, monkeypatch):
  release = threading.Event()
  server.bad = [lambda handler: release.wait(LONG)]
  with watching(
    server.host, monkeypatch, wait_seconds=0.1, slack_seconds=1
  ) as notices:
    until(lambda: len(server.asked) > 1)
    release.set()
    server.change(preempted="TRUE")
    assert notices.get(timeout=LONG)


def test_a_server_that_does_not_wait_is_not_pressed(server, monkeypatch):
  server.bad = [_garbage(b"{}")] * 1000
  with watching(server.host, monkeypatch, pause_seconds=1000):
    until(lambda: server.asked)
    time.sleep(0.2)
    assert len(server.asked) == 1


def test_no_server_is_no_error(monkeypatch):
  with socket.create_server(("127.0.0.1", 0)) as closed:
    host = f"127.0.0.1:{closed.getsockname()[1]}"
  with watching(host, monkeypatch) as notices:
    time.sleep(0.2)
    assert threads() and notices.empty()


def threads():
  return [t for t in threading.enumerate() if t.name == "preemption notice"]


@pytest.mark.parametrize("pause", [0.01, 1000])
def test_close_ends_the_thread(server, monkeypatch, pause):
  with watching(server.host, monkeypatch, pause_seconds=pause):
    until(lambda: is_waiting(server) or (server.asked and pause > 1))
    start = time.monotonic()
  until(lambda: not threads())
  # Far below the minute that a question waits.
  assert time.monotonic() - start < 30


def test_close_within_the_call(server, monkeypatch):
  monkeypatch.setenv("GCE_METADATA_HOST", server.host)
  done = threading.Event()
  started = queue.SimpleQueue()

  def on_notice(unused):
    started.get().close()
    done.set()

  server.change(preempted="TRUE")
  started.put(preemption.start(on_notice))
  assert done.wait(LONG)


def test_the_server_here_is_as_strict_as_googles(server):
  with pytest.raises(urllib.error.HTTPError, match="403"):
    urllib.request.urlopen(f"http://{server.host}/computeMetadata/v1/instance/")


def test_a_proxy_is_not_asked(server, monkeypatch):
  monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
  server.change(preempted="TRUE")
  with watching(server.host, monkeypatch) as notices:
    assert notices.get(timeout=LONG)


@pytest.mark.parametrize("name", ["product_name", "sys_vendor"])
def test_google_cloud_is_known_by_the_machine(tmp_path, monkeypatch, name):
  monkeypatch.delenv("GCE_METADATA_HOST", raising=False)
  # No machine has this name: nothing outside is asked.
  monkeypatch.setattr(preemption, "_HOST", "127.0.0.1:1")
  assert preemption.start(print, dmi=tmp_path) is None
  (tmp_path / name).write_text("ACME\n")
  assert preemption.start(print, dmi=tmp_path) is None
  (tmp_path / name).write_text("Google Compute Engine\n")
  watcher = preemption.start(print, dmi=tmp_path)
  assert watcher is not None
  watcher.close()
