"""Runs the app on a socket until a signal comes."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

import numpy as np
import uvicorn
from fastapi import FastAPI

from ltu_jax import sampling
from ltu_jax.answers.answerer import Question
from ltu_jax.audio.decode import SAMPLE_RATE
from ltu_jax.serve.service import Service

_CONNECTIONS = 1000
"""Open at once at most."""


class AddressError(OSError):
  """An address that cannot be bound; the message says what to do."""


def bind(host: str, port: int) -> socket.socket:
  """Takes an address, before the model is loaded.

  Args:
    host: A name or an address of this machine.
    port: 0 for any that is free.

  Raises:
    AddressError: It is in use, or no address of this machine.
  """
  try:
    family, _, _, _, address = socket.getaddrinfo(
      host, port, type=socket.SOCK_STREAM
    )[0]
    taken = socket.socket(family)
    # An address stays in use for a minute after its last connection.
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(address)
  except OSError as error:
    raise AddressError(
      f"{host}:{port} cannot be used: {error.strerror}; choose others with"
      " --host and --port (0: any that is free)."
    ) from error
  return taken


def url(taken: socket.socket) -> str:
  """The address of a bound socket, for a browser."""
  host, port = taken.getsockname()[:2]
  return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def warm_up(service: Service) -> None:
  """Has the programs compiled that answer a first question.

  A short one, with a sound and without; other lengths and several at once are
  compiled when they come.
  """
  short = sampling.SamplingConfig(max_new_tokens=2)
  for clip in (np.zeros(SAMPLE_RATE, np.int16), None):
    for _ in service.stream(Question("What can be heard?", clip, config=short)):
      pass


def run(
  app: FastAPI, service: Service, taken: socket.socket, stop_seconds: float
) -> None:
  """Serves until SIGTERM or SIGINT, then finishes what is open.

  New questions are refused from then on; a second signal ends the process at
  once.

  Args:
    app: The app; `app.state.end_streams`, if there is one, is called when the
      open answers have ended: it ends streams that never end by themselves.
    service: What answers.
    taken: Of `bind`.
    stop_seconds: How long open answers may take after the signal.

  Raises:
    AddressError: The address was taken after `bind`.
  """
  server = Server(app, url(taken))
  stopping = threading.Event()

  def stop() -> None:
    service.stop(stop_seconds)
    server.should_exit = True

  def on_signal(number: int, frame: object) -> None:
    if stopping.is_set():
      os._exit(128 + number)
    stopping.set()
    threading.Thread(target=stop, name="ltu stop", daemon=True).start()

  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, on_signal)
  try:
    server.run(sockets=[taken])
  except OSError as error:  # another has begun to listen in the meantime
    raise AddressError(f"{url(taken)} cannot be used: {error}") from error


class Server(uvicorn.Server):
  """Uvicorn's server, which says when it answers and leaves signals alone."""

  def __init__(self, app: FastAPI, address: str):
    """Serves nothing yet.

    Args:
      app: The app, as `run` takes it.
      address: What is said to be the address.
    """
    config = uvicorn.Config(
      app,
      http="h11",
      log_level="warning",
      access_log=False,
      server_header=False,
      proxy_headers=False,
      limit_concurrency=_CONNECTIONS,
      timeout_graceful_shutdown=5,
    )
    super().__init__(config)
    self._address, self._state = address, app.state

  async def startup(self, sockets: list[socket.socket] | None = None) -> None:
    """Begins to answer."""
    await super().startup(sockets=sockets)
    print(f"serve: ready at {self._address}", flush=True)

  async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
    """Takes no more connections, and waits for those that are open."""
    if end_streams := getattr(self._state, "end_streams", None):
      end_streams()
    await super().shutdown(sockets=sockets)

  @contextlib.contextmanager
  def capture_signals(self) -> Iterator[None]:
    """Nothing: `run` has its own handlers."""
    yield


def warn(text: str) -> None:
  """Prints a warning to standard error."""
  print(f"serve: warning: {text}", file=sys.stderr, flush=True)
