"""A real server on a real port, in a thread of the tests; no test."""

import contextlib
import io
import socket
import threading
import time

import numpy as np
import soundfile
import uvicorn

import letters
from ltu_jax.answers.answerer import Answerer
from ltu_jax.serve import server
from ltu_jax.serve.app import make_app
from ltu_jax.serve.service import Service

FORM = {"temperature": "0", "repetition_penalty": "1", "max_new_tokens": "12"}
"""Fields of `/v1/answers` whose answer `SHORT` gives."""


def answerer(num_rows=2):
  model, tokenizer = letters.model(), letters.Letters(eos_id=-1)
  return Answerer(model, tokenizer, num_rows=num_rows, context=2048)


def wait_for(condition, seconds=60):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.01)


@contextlib.contextmanager
def serving(service, settings):
  """The server's port."""
  taken = server.bind("127.0.0.1", 0)
  config = uvicorn.Config(
    make_app(service, settings), http="h11", log_level="critical"
  )
  running = uvicorn.Server(config)
  thread = threading.Thread(target=running.run, args=([taken],))
  thread.start()
  try:
    wait_for(lambda: running.started)
    yield taken.getsockname()[1]
  finally:
    running.should_exit = True
    thread.join(30)
    taken.close()


@contextlib.contextmanager
def service(**options):
  made = Service(answerer, **options)
  try:
    yield made
  finally:
    made.stop(0)


def clip(number, seconds=1.0, rate=16000, channels=1):
  """int16 [samples, channels]; the golden models tell numbers apart."""
  rng = np.random.default_rng(number)
  size = (int(seconds * rate), channels)
  noise = rng.normal(size=size) * 10 ** (1 + number % 8 / 3)
  return noise.clip(-(2**15), 2**15 - 1).astype(np.int16)


def wav(number, seconds=1.0, rate=16000, channels=1, kind="wav"):
  file = io.BytesIO()
  pcm = clip(number, seconds, rate, channels)
  soundfile.write(file, pcm, rate, format=kind)
  return file.getvalue()


def raw(port, data, wait=30):
  """Sends bytes and returns the open socket."""
  s = socket.create_connection(("127.0.0.1", port), timeout=wait)
  s.sendall(data)
  return s


def answer_of(sock):
  """All that comes until the server closes, or a whole short answer."""
  found = b""
  with contextlib.suppress(ConnectionError):
    while part := sock.recv(65536):
      found += part
      head, _, body = found.partition(b"\r\n\r\n")
      for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:") and len(body) >= int(line[15:]):
          return found
  return found
