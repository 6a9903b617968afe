"""Mistakes and failures as answers of HTTP, in the form that OpenAI's have."""

import dataclasses
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from ltu_jax.answers.request import RequestError
from ltu_jax.audio.decode import AudioError
from ltu_jax.serve.service import (
  BusyError,
  ServiceError,
  StoppingError,
  TooSlowError,
)

_log = logging.getLogger("ltu_jax.serve")

_TYPES = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  408: "timeout_error",
  421: "permission_error",
  429: "rate_limit_error",
  503: "service_unavailable_error",
  504: "timeout_error",
}


class ApiError(HTTPException):
  """A request that is not answered.

  Attributes:
    status_code: Of HTTP.
    detail: The message; says what to change.
    param: The field that is wrong; None if there is none.
    code: A word for programs; None if there is none.
    headers: Of the answer, such as Retry-After.
  """

  def __init__(
    self,
    status: int,
    message: str,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
  ):
    """Makes the error; see the class."""
    super().__init__(status, message, headers)
    self.param, self.code = param, code


class ErrorDetail(BaseModel):
  """What is wrong."""

  message: str
  type: str
  param: str | None
  code: str | None


class ErrorBody(BaseModel):
  """The body of every answer that is an error."""

  error: ErrorDetail


@dataclasses.dataclass(frozen=True)
class _Told:
  """What a status is for in the OpenAPI document."""

  status: int
  meaning: str


RESPONSES: dict[int | str, dict[str, Any]] = {
  told.status: {"model": ErrorBody, "description": told.meaning}
  for told in (
    _Told(400, "The request or its sound cannot be used."),
    _Told(401, "The bearer token is missing or wrong."),
    _Told(403, "The request comes from a page of another site."),
    _Told(408, "The body came too slowly."),
    _Told(413, "The body is too large."),
    _Told(415, "The body has another content type."),
    _Told(421, "The Host header names another server."),
    _Told(429, "Too many are waiting; see Retry-After."),
    _Told(503, "The service is stopping or has failed."),
    _Told(504, "The answer did not come in time."),
  )
}
"""Errors of all endpoints, for `responses=` of FastAPI."""


def api_error(error: Exception) -> ApiError:
  """The answer of HTTP to an exception; what is unknown is logged, not told."""
  match error:
    case ApiError():
      return error
    case HTTPException():
      return ApiError(
        error.status_code, str(error.detail), headers=error.headers
      )
    case BusyError():
      wait = {"Retry-After": str(error.retry_after)}
      return ApiError(429, str(error), code="rate_limit_exceeded", headers=wait)
    case TooSlowError():
      return ApiError(504, str(error), code="timeout")
    case StoppingError():
      return ApiError(503, str(error), code="stopping")
    case ServiceError():
      # Its text is JAX's, which is for whoever runs the server.
      _log.error("%s", error)
      return ApiError(
        503, "the answer could not be made; the server's log says why."
      )
    case AudioError():
      return ApiError(400, str(error), "audio", f"audio_{error.kind}")
    case RequestError():
      return ApiError(400, str(error))
    case ValidationError():
      return _invalid(error)
  _log.error("a request failed", exc_info=error)
  return ApiError(500, "internal error; the server's log says more.")


def body(error: ApiError) -> dict[str, Any]:
  """An error's body: a JSON object of the form `ErrorBody`."""
  status = error.status_code
  kind = "server_error" if status >= 500 else "invalid_request_error"
  detail = ErrorDetail(
    message=str(error.detail),
    type=_TYPES.get(status, kind),
    param=error.param,
    code=error.code,
  )
  return ErrorBody(error=detail).model_dump()


def response(error: Exception) -> JSONResponse:
  """An exception as an answer of HTTP."""
  found = api_error(error)
  return JSONResponse(body(found), found.status_code, found.headers)


def add_handlers(app: FastAPI) -> None:
  """Makes an app answer all errors in this form."""

  async def handle(request: Request, error: Exception) -> JSONResponse:
    return response(error)

  for kind in (
    *(HTTPException, ServiceError, AudioError, RequestError, ValidationError),
    Exception,
  ):
    app.add_exception_handler(kind, handle)


def _invalid(error: ValidationError) -> ApiError:
  """The first thing that pydantic found, in one line."""
  first = error.errors(
    include_url=False, include_context=False, include_input=False
  )[0]
  place = ".".join(str(part)[:40] for part in first["loc"][:6])
  why = first["msg"].removeprefix("Value error, ")
  message = f"{place}: {why}" if place else why
  return ApiError(400, printable(message, 500), place or None, "invalid_value")


def printable(text: str, most: int = 80) -> str:
  """Text of a client's as it may stand in a message: short, in one line."""
  text = "".join(c if c.isprintable() else "?" for c in text[: most + 1])
  return text if len(text) <= most else f"{text[:most]}..."
