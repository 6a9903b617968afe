"""The page on a port of its own, answered by a golden model; no test itself."""

import contextlib
import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

import letters
from ltu_jax.answers.answerer import Answerer
from ltu_jax.serve import page
from ltu_jax.serve.service import Service

EXAMPLES = ("What can be heard?", "How many sounds are there?")


def answerer():
  """Answers that never end by themselves."""
  return Answerer(
    letters.model(), letters.Letters(eos_id=-1), num_rows=2, context=4096
  )


def app(service, **options):
  """An application with the page."""
  made = page.make_page(
    service, card="# A card\n\nIt hears.", examples=EXAMPLES
  )
  return page.mount(FastAPI(), made, **options)


@contextlib.contextmanager
def serving(service, **options):
  """Runs it in a thread; gives its address."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  config = uvicorn.Config(
    app(service, **options),
    port=port,
    log_level="warning",
    timeout_graceful_shutdown=1,
  )
  server = uvicorn.Server(config)
  thread = threading.Thread(target=server.run, daemon=True)
  thread.start()
  end = time.monotonic() + 60
  while not server.started:
    assert thread.is_alive() and time.monotonic() < end
    time.sleep(0.05)
  yield f"http://127.0.0.1:{port}/"
  server.should_exit = True
  thread.join(30)


@contextlib.contextmanager
def answering(**options):
  """A service of `answerer`."""
  service = Service(answerer, **options)
  yield service
  service.stop(0)
