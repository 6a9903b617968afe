"""Who may ask: the Host and Origin headers, and a token."""

import base64
import binascii
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ltu_jax.serve import errors
from ltu_jax.serve.errors import ApiError

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def is_loopback(host: str) -> bool:
  """Whether an address to bind is one that no other machine reaches."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == "localhost"


def allowed_hosts(host: str, more: list[str]) -> frozenset[str] | None:
  """Names that the Host header may have.

  A page of another site can make its own name lead to this machine; the header
  then has that name.

  Args:
    host: The address that is bound.
    more: Further names, from the command line.

  Returns:
    The names in lower case; None for any.
  """
  if is_loopback(host):
    own = f"[{host}]" if ":" in host else host
    return _LOOPBACK | {own} | {name.lower() for name in more}
  return frozenset(name.lower() for name in more) or None


class Access:
  """Refuses who may not ask; /healthz needs no token."""

  def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, token: str):
    """Wraps an app.

    Args:
      app: What gets the requests.
      hosts: As of `allowed_hosts`.
      token: What clients must show; "" for none.
    """
    self._app, self._hosts, self._token = app, hosts, token.encode()

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Passes a request on, or refuses it."""
    if scope["type"] in ("http", "websocket") and (
      error := self._refusal(scope)
    ):
      if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
      response = errors.response(error)
      if error.status_code == 401 and not scope["path"].startswith("/v1/"):
        # A browser asks for it: any name, and the token as password.
        response.headers.append("WWW-Authenticate", 'Basic realm="ltu"')
      await response(scope, receive, send)
      return
    await self._app(scope, receive, send)

  def _refusal(self, scope: Scope) -> ApiError | None:
    """Why a request is refused; None if it is not."""
    headers = Headers(scope=scope)
    host = headers.get("host", "").lower()
    if self._hosts is not None and _name(host) not in self._hosts:
      return ApiError(
        421, "this server has another name; see its flag --allow_host."
      )
    if (origin := headers.get("origin")) is not None:
      asked = _netloc(origin)
      ours = self._hosts or ()
      if asked != host and not (
        _name(asked) in ours and _name(asked) not in _LOOPBACK
      ):
        return ApiError(403, "pages of other sites may not ask.")
    if not self._token or scope["path"] == "/healthz":
      return None
    if not hmac.compare_digest(_shown(headers), self._token):
      return ApiError(
        401,
        "a bearer token is needed: the header Authorization: Bearer TOKEN.",
        code="invalid_api_key",
        headers={"WWW-Authenticate": 'Bearer realm="ltu"'},
      )
    return None


def _name(host: str) -> str:
  """A Host header without its port."""
  name, colon, port = host.rpartition(":")
  return name if colon and port.isdigit() else host


def _netloc(origin: str) -> str:
  """Name and port of an Origin header; "" for none, such as "null"."""
  try:
    return urlsplit(origin).netloc.lower()
  except ValueError:
    return ""


def _shown(headers: Headers) -> bytes:
  """The token that a client shows, by Bearer or as Basic's password."""
  kind, _, rest = headers.get("authorization", "").partition(" ")
  rest = rest.strip().encode("latin-1")
  if kind.lower() == "bearer":
    return rest
  if kind.lower() == "basic":
    try:
      return base64.b64decode(rest, validate=True).partition(b":")[2]
    except binascii.Error:
      return b""
  return b""
