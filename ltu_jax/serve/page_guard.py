"""Lets through to Gradio what the page needs, and nothing else.

Gradio's application has routes that fetch other web pages, run functions by
name and more. And a mounted page (Gradio 6.31) does not check that the file
that a browser names is one that was uploaded: it would open any of the server's
files.
"""

import json
import os
import re
from typing import Any

from starlette._utils import get_route_path
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READ = re.compile(
  r"/|/(config|theme\.css|favicon\.ico|manifest\.json)"
  r"|/(assets|static|svelte)/.*"
  r"|/gradio_api/(app_id|startup-events|queue/data|upload_progress)"
  r"|/gradio_api/heartbeat/\w+"
  r"|/gradio_api/file=/.*"
)
"""What may be read. A file by its path on the server: see Gradio's own check,
which allows the folder of uploaded files only."""

_JOIN = "/gradio_api/queue/join"
"""Where the page says which function is to run, and on what."""

_WRITE = {
  _JOIN,
  *(f"/gradio_api/{name}" for name in ("upload", "cancel", "reset")),
}
"""What may be written to."""

_MOST_BYTES = 1 << 20
"""Longest request to `_JOIN`: a question, settings and the name of a file."""


class PageGuard:
  """Middleware (ASGI) around Gradio's application."""

  def __init__(self, app: ASGIApp, folder: str):
    """Wraps an application.

    Args:
      app: Gradio's.
      folder: Where uploaded files lie; others may not be named.
    """
    self._app, self._folder = app, folder

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Passes a request on, or refuses it."""
    if scope["type"] != "http":
      if scope["type"] == "lifespan":
        await self._app(scope, receive, send)
      return
    path = get_route_path(scope) or "/"
    reading = scope["method"] in ("GET", "HEAD")
    allowed = _READ.fullmatch(path) if reading else path in _WRITE
    if not allowed:
      refusal = PlainTextResponse("not found", 404)
      return await refusal(scope, receive, send)
    if not reading and path == _JOIN:
      body = await _body(receive)
      if body is None or not self._names_uploads_only(body):
        refusal = PlainTextResponse("only uploaded files may be named", 403)
        return await refusal(scope, receive, send)
      receive = _replay(body, receive)
    await self._app(scope, receive, send)

  def _names_uploads_only(self, body: bytes) -> bool:
    """Whether each file that a request names is an uploaded one."""
    try:
      paths = list(_paths(json.loads(body)))
    except (ValueError, RecursionError):
      return False
    start = self._folder + os.sep
    return all(
      isinstance(path, str) and _real(path).startswith(start) for path in paths
    )


def _real(path: str) -> str:
  """The path without links and dots; "" for what no file is called."""
  try:
    return os.path.realpath(path)
  except ValueError:  # a null byte
    return ""


def _paths(value: Any):
  """Yields what stands at "path" in a JSON value, at any depth."""
  if isinstance(value, dict):
    for key, inner in value.items():
      if key == "path":
        yield inner
      else:
        yield from _paths(inner)
  elif isinstance(value, list):
    for inner in value:
      yield from _paths(inner)


async def _body(receive: Receive) -> bytes | None:
  """Reads a request; None if it is too long or its sender has gone."""
  body, more = b"", True
  while more:
    message = await receive()
    if message["type"] != "http.request":
      return None
    body += message.get("body", b"")
    more = message.get("more_body", False)
    if len(body) > _MOST_BYTES:
      return None
  return body


def _replay(body: bytes, receive: Receive) -> Receive:
  """A `receive` that gives what was read, then goes on."""
  first: list[Message] = [{"type": "http.request", "body": body}]

  async def again() -> Message:
    return first.pop() if first else await receive()

  return again
