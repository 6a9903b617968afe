"""A server on loopback that says what a test wrote down for it; no test."""

import contextlib
import dataclasses
import http.server
import json
import sys
import threading


class _Server(http.server.ThreadingHTTPServer):
  daemon_threads = True

  def handle_error(self, request, client_address):
    if not isinstance(sys.exception(), ConnectionError):
      super().handle_error(request, client_address)


@dataclasses.dataclass(frozen=True)
class Request:
  path: str
  headers: dict
  body: dict


@dataclasses.dataclass
class Script:
  """Attributes: url of the API; requests in the order in which they came."""

  url: str = ""
  requests: list = dataclasses.field(default_factory=list)


def says(text, finish="stop", **usage):
  """The answer of a chat model."""
  message = {"role": "assistant", "content": text}
  choice = {"index": 0, "message": message, "finish_reason": finish}
  return 200, json.dumps({"choices": [choice], "usage": usage or None}).encode()


def error(message, **more):
  return json.dumps({"error": {"message": message} | more}).encode()


@contextlib.contextmanager
def serving(*answers, answer=None):
  """Runs the server.

  Args:
    answers: (status, body) or (status, body, headers), one a request.
    answer: Makes one from a Request, in place of `answers`.
  """
  script, lock, left = Script(), threading.Lock(), list(answers)

  class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
      body = self.rfile.read(int(self.headers["content-length"]))
      headers = {k.lower(): v for k, v in self.headers.items()}
      request = Request(self.path, headers, json.loads(body))
      with lock:
        script.requests.append(request)
        reply = None if answer else left.pop(0)
      status, text, *more = reply or answer(request)
      self.send_response(status)
      for name, value in more[0].items() if more else ():
        self.send_header(name, value)
      self.send_header("content-type", "application/json")
      self.send_header("content-length", str(len(text)))
      self.end_headers()
      self.wfile.write(text)

    def log_message(self, *_):
      pass

  server = _Server(("127.0.0.1", 0), Handler)
  script.url = f"http://127.0.0.1:{server.server_port}/v1"
  thread = threading.Thread(target=server.serve_forever, args=(0.02,))
  thread.start()
  try:
    yield script
  finally:
    server.shutdown()
    server.server_close()
    thread.join()
