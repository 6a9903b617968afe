"""Hears from Google Cloud that this machine is about to be taken away.

The metadata server answers a question when something has changed
(wait_for_change), so it is asked all the time by a thread that mostly waits. A
preempted machine has 30 seconds from the notice on.
"""

import contextlib
import functools
import http.client
import json
import os
import pathlib
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

_HOST = "metadata.google.internal"
_DMI = pathlib.Path("/sys/class/dmi/id")


def start(
  on_notice: Callable[[str], None],
  *,
  dmi: pathlib.Path = _DMI,
  **times: float,
) -> "Watcher | None":
  """Starts to listen, where there is a metadata server.

  Google Cloud is known by what the machine calls itself, without the network.
  GCE_METADATA_HOST names another server (HOST or HOST:PORT).

  Args:
    on_notice: Called once, in another thread, with why the machine goes away.
    dmi: Where the machine's maker and product stand.
    **times: See `Watcher`.

  Returns:
    What listens, to be closed; None elsewhere than on Google Cloud.
  """
  host = os.environ.get("GCE_METADATA_HOST")
  if not host and not _is_google(dmi):
    return None
  return Watcher(host or _HOST, on_notice, **times)


class Watcher:
  """Asks a metadata server until it gives notice."""

  def __init__(
    self,
    host: str,
    on_notice: Callable[[str], None],
    *,
    wait_seconds: float = 60,
    slack_seconds: float = 10,
    pause_seconds: float = 1,
    retry_seconds: float = 5,
  ):
    """Starts the thread.

    Args:
      host: The server, HOST or HOST:PORT.
      on_notice: Called once, in the thread, with why the machine goes away.
      wait_seconds: After how long the server answers though nothing changed.
      slack_seconds: How long it may take to connect, and to answer late.
      pause_seconds: The least time from an answer to the next question.
      retry_seconds: The same where the answer was of no use.
    """
    self._url = f"http://{host}/computeMetadata/v1/instance/"
    self._on_notice = on_notice
    self._wait_seconds, self._slack_seconds = wait_seconds, slack_seconds
    self._pause_seconds, self._retry_seconds = pause_seconds, retry_seconds
    self._stop = threading.Event()
    self._socket: socket.socket | None = None
    # Not through a proxy: the server is the machine's own.
    self._opener = urllib.request.build_opener(
      urllib.request.ProxyHandler({}), _Handler(self._connected, slack_seconds)
    )
    self._thread = threading.Thread(
      target=self._listen, name="preemption notice", daemon=True
    )
    self._thread.start()

  def close(self) -> None:
    """Stops to listen; what comes later is not told."""
    self._stop.set()
    if self._socket is not None:
      with contextlib.suppress(OSError):  # closed already
        self._socket.shutdown(socket.SHUT_RDWR)
    if threading.current_thread() is not self._thread:
      # Only the search for the host's address cannot be cut short.
      self._thread.join(1)

  def _listen(self) -> None:
    """Asks until there is notice, or no more need."""
    etag = None
    while not self._stop.is_set():
      pause = self._retry_seconds
      try:
        reason, etag = self._ask(etag)
      # Not there, too slow, not well (503 is usual in maintenance), nonsense.
      except (OSError, http.client.HTTPException, ValueError):
        reason = None
      else:
        if etag is not None:
          pause = self._pause_seconds
      if reason is not None and not self._stop.is_set():
        self._on_notice(reason)
        return
      self._stop.wait(pause)

  def _ask(self, etag: str | None) -> tuple[str | None, str | None]:
    """Why the machine goes away, if it does, and the answer's version.

    Args:
      etag: The version that is known, to wait for another; None for an answer
        at once.
    """
    query = {"recursive": "true", "alt": "json"}
    if etag is not None:
      query |= {
        "wait_for_change": "true",
        "last_etag": etag,
        "timeout_sec": str(max(1, round(self._wait_seconds))),
      }
    request = urllib.request.Request(
      f"{self._url}?{urllib.parse.urlencode(query)}",
      headers={"Metadata-Flavor": "Google"},
    )
    timeout = self._wait_seconds + self._slack_seconds
    with self._opener.open(request, timeout=timeout) as answer:
      return _reason(json.load(answer)), answer.headers.get("ETag")

  def _connected(self, connection: socket.socket) -> None:
    """Keeps what `close` has to cut."""
    self._socket = connection
    if self._stop.is_set():
      raise ConnectionAbortedError("closed")


class _Handler(urllib.request.HTTPHandler):
  """Tells the socket of each connection."""

  def __init__(
    self, tell: Callable[[socket.socket], None], connect_seconds: float
  ):
    """Keeps whom to tell."""
    super().__init__()
    self._connection = functools.partial(
      _Connection, tell=tell, connect_seconds=connect_seconds
    )

  def http_open(self, req: urllib.request.Request) -> Any:
    """Opens an http address."""
    return self.do_open(self._connection, req)


class _Connection(http.client.HTTPConnection):
  """Has a time limit of its own for connecting, and tells its socket."""

  def __init__(
    self,
    host: str,
    *,
    tell: Callable[[socket.socket], None],
    connect_seconds: float,
    timeout: float,
  ):
    """Keeps whom to tell."""
    super().__init__(host, timeout=connect_seconds)
    self._tell, self._answer_seconds = tell, timeout

  def connect(self) -> None:
    """Connects, and tells it."""
    super().connect()
    self.sock.settimeout(self._answer_seconds)
    self._tell(self.sock)


def _reason(instance: Any) -> str | None:
  """Why a machine goes away, from its metadata; None if it stays.

  Raises:
    ValueError: It is no machine's metadata.
  """
  if not isinstance(instance, Mapping):
    raise ValueError("not a JSON object")
  if instance.get("preempted") == "TRUE":
    return "Google Cloud preempts this machine"
  event = str(instance.get("maintenanceEvent"))
  if event.startswith("TERMINATE"):
    return f"Google Cloud stops this machine for maintenance ({event})"
  return None


def _is_google(dmi: pathlib.Path) -> bool:
  """Whether the machine says that it is Google's."""
  for name in ("product_name", "sys_vendor"):
    # Not there on other systems, nor in some containers.
    with contextlib.suppress(OSError, UnicodeDecodeError):
      if "Google" in (dmi / name).read_text():
        return True
  return False
