"""How much a request may hold: bytes, seconds, form fields, JSON values."""

import asyncio
from typing import Any

from pydantic import BaseModel
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ltu_jax import json_text
from ltu_jax.serve import errors
from ltu_jax.serve.errors import ApiError

_TOGETHER = 8
"""Largest bodies that may be in memory at once."""

_FIELDS = 40
"""Fields of a form."""

_FIELD_BYTES = 256 << 10
"""Of a form's field that is no file: a question with what was said before."""

_JSON_VALUES = 20_000
"""Commas and brackets of a JSON text; base64 has none."""


SCHEMAS: dict[str, Any] = {}
"""Name -> JSON schema of what `body_schema` refers to."""


class BodyLimit:
  """Refuses bodies that are too large, too slow, or too many at once.

  No more than the limit is read of a body, whether its length was told or not.
  """

  def __init__(self, app: ASGIApp, most: int, seconds: float):
    """Wraps an app.

    Args:
      app: What gets the requests.
      most: Bytes of a body.
      seconds: How long a body may take to come.
    """
    self._app, self._most, self._seconds = app, most, seconds
    self._held = 0

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Passes a request on, or refuses it."""
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return
    told = dict(scope["headers"]).get(b"content-length", b"0")
    if not told.isdigit() or len(told) > 18 or int(told) > self._most:
      await errors.response(self._too_large())(scope, receive, send)
      return
    counted = _Counted(self, receive, asyncio.get_running_loop().time())
    try:
      await self._app(scope, counted.receive, send)
    finally:
      self._held -= counted.size

  def _too_large(self) -> ApiError:
    return ApiError(
      413,
      f"the body has over {self._most / (1 << 20):g} MB, this server's limit.",
      code="body_too_large",
      headers={"Connection": "close"},
    )

  async def take(self, counted: "_Counted") -> Message:
    """Reads the next part of a body.

    Raises:
      ApiError: It is refused.
    """
    try:
      async with asyncio.timeout_at(counted.began + self._seconds):
        message = await counted.source()
    except TimeoutError:
      raise ApiError(
        408,
        f"the body did not come within {self._seconds:g} s.",
        headers={"Connection": "close"},
      ) from None
    size = len(message.get("body", b""))
    counted.size += size
    self._held += size
    if counted.size > self._most:
      raise self._too_large()
    if self._held > self._most * _TOGETHER:
      raise ApiError(
        429,
        "too many are sending at once; ask again in 1 s.",
        code="rate_limit_exceeded",
        headers={"Retry-After": "1", "Connection": "close"},
      )
    return message


class _Counted:
  """A request's body on its way in.

  Attributes:
    source: Where its parts come from.
    began: When, by the loop's clock.
    size: Bytes so far.
  """

  def __init__(self, limit: BodyLimit, source: Receive, began: float):
    self._limit, self.source, self.began = limit, source, began
    self.size, self._whole = 0, False

  async def receive(self) -> Message:
    """The next part; after the last, whatever comes, such as a disconnect."""
    if self._whole:
      return await self.source()
    message = await self._limit.take(self)
    self._whole = not message.get("more_body", False)
    return message


class _InMemory(MultiPartParser):
  """A form of which nothing goes to a disk; BodyLimit bounds it."""

  spool_max_size = 1 << 62


async def read_form(request: Request) -> FormData:
  """Reads a multipart form with one file at most.

  Raises:
    ApiError: It is none, or has too many or too large fields.
  """
  kind = request.headers.get("content-type", "")
  if kind.partition(";")[0].strip().lower() != "multipart/form-data":
    raise ApiError(415, "the body must be a form: multipart/form-data.")
  try:
    return await _InMemory(
      request.headers,
      request.stream(),
      max_files=1,
      max_fields=_FIELDS,
      max_part_size=_FIELD_BYTES,
    ).parse()
  except (MultiPartException, UnicodeError, ValueError) as error:
    why = getattr(error, "message", None) or "it is damaged"
    raise ApiError(
      400, f"the form cannot be read: {errors.printable(why, 200)}"
    ) from error


def parse_json(body: bytes) -> dict[str, Any]:
  """Parses a JSON object from a client.

  Raises:
    ApiError: It is none, or has too many values or levels.
  """
  if sum(map(body.count, (b",", b"[", b"{"))) > _JSON_VALUES:
    raise ApiError(400, "the body has too many values.")
  try:
    found = json_text.parse(body)
  except ValueError as error:
    raise ApiError(400, f"the body is no JSON: {error}") from error
  if not isinstance(found, dict):
    raise ApiError(400, "the body is no JSON object.")
  return found


def body_schema(model: type[BaseModel], media_type: str) -> dict[str, Any]:
  """A request's body for the OpenAPI document, for `openapi_extra=`.

  The endpoints read their bodies by themselves, within the limits here. What
  the model is made of is put where `app.py` adds it to the document.
  """
  schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
  SCHEMAS.update(schema.pop("$defs", {}))
  return {
    "requestBody": {
      "required": True,
      "content": {media_type: {"schema": schema}},
    }
  }
