"""Servers with OpenAI's HTTP API: the client, and its errors in one line.

The package `openai` is imported inside, it is the extra `evaluate`. No message
has the key in it, also where a server's own words repeat it.
"""

import contextlib
import ipaddress
import os
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ltu_jax.endpoint.errors import EndpointError, NoReplyError

if TYPE_CHECKING:
  import openai

RETRIES = 6
"""After a 408, 409, 429, 5xx or a lost connection; about 20 s of waits."""

TIMEOUT = 120.0
"""Seconds that one request may take."""

_LONGEST = 200
"""Characters of a server's own words at most."""

_NO_QUOTA = "insufficient_quota"
"""OpenAI's code for an account without money."""

_NO_KEY = "no-key-needed"
"""For servers that ask for none; the package does."""


def client(
  base_url: str | None,
  key_name: str = "OPENAI_API_KEY",
  *,
  retries: int = RETRIES,
  timeout: float = TIMEOUT,
) -> "openai.OpenAI":
  """Makes a client; sends nothing yet.

  Args:
    base_url: Of the API, such as "http://localhost:8000/v1"; None takes
      OPENAI_BASE_URL of the environment, or else OpenAI's own.
    key_name: Environment variable that has the key. A server of this machine
      or of the local network may do without.
    retries: How often a request is sent again, after growing waits or those
      that the server asks for.
    timeout: Seconds that one request may take.

  Raises:
    EndpointError: The package is missing, the URL is none, or there is no key.
  """
  openai = _package()
  url = base_url or os.environ.get("OPENAI_BASE_URL") or None
  local = url is not None and _is_local(_host(url))
  return openai.OpenAI(
    api_key=_key(key_name, local),
    base_url=url,
    max_retries=retries,
    timeout=timeout,
  )


@contextlib.contextmanager
def explained(client: "openai.OpenAI", model: str) -> Iterator[None]:
  """Turns what `openai` raises within into one line.

  Args:
    client: That is asked.
    model: Name of the model that is asked for.

  Raises:
    NoReplyError: Names the URL, what is wrong and what to do.
  """
  openai = _package()
  url = shown(str(client.base_url))
  try:
    yield
  except openai.APIStatusError as error:
    raise _status(error, url, model, client) from error
  except openai.APITimeoutError as error:
    raise NoReplyError(
      f"{url}: no answer in {client.timeout:g} s; the server may be "
      "overloaded: ask fewer at once.",
      lasting=False,
    ) from error
  except openai.APIConnectionError as error:
    raise NoReplyError(
      f"{url}: no connection ({_words(error.__cause__, client.api_key)}); "
      "see that the server runs, and that the URL is right.",
      lasting=True,
    ) from error
  # It parses answers outside of its own errors.
  except (openai.OpenAIError, ValueError) as error:
    if isinstance(error, EndpointError):
      raise
    raise NoReplyError(
      f"{url}: an answer that is not of OpenAI's API "
      f"({_words(error, client.api_key)}); see that the URL is right, it often "
      "ends with /v1.",
      lasting=False,
    ) from error


def shown(url: str) -> str:
  """A URL for people: without user, password, query."""
  parts = urllib.parse.urlsplit(url)
  host = parts.netloc.rpartition("@")[2]
  return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def _status(
  error: "openai.APIStatusError", url: str, model: str, client: "openai.OpenAI"
) -> NoReplyError:
  """What an HTTP status means here."""
  code, words = error.status_code, _words(error, client.api_key)
  said = f"{url}: HTTP {code}"
  if code in (401, 403):
    return NoReplyError(
      f"{said}, the key is not accepted; see the environment variable that has"
      f" it, and what the key may do ({words}).",
      lasting=True,
    )
  if code == 404:
    return NoReplyError(
      f"{said}, no model {model!r} there, or no such API; see the model's name,"
      f" and that the URL is right, it often ends with /v1 ({words}).",
      lasting=True,
    )
  if code == 402 or (code == 429 and _NO_QUOTA in (error.code, error.type)):
    return NoReplyError(
      f"{said}, out of quota; see the plan and billing of the account. What is "
      f"done is kept, and the same command goes on from there ({words}).",
      lasting=True,
    )
  if code == 429:
    return NoReplyError(
      f"{said}, too many requests, also after {client.max_retries} retries; ask"
      f" fewer at once, or go on later with the same command ({words}).",
      lasting=False,
    )
  if code >= 500:
    return NoReplyError(
      f"{said}, the server fails; see its log, or go on later with the same "
      f"command ({words}).",
      lasting=False,
    )
  return NoReplyError(f"{said}: {words}.", lasting=False)


def _words(error: BaseException | None, key: str) -> str:
  """An error's own words on one short line without the key."""
  text = body = getattr(error, "body", None)
  if isinstance(body, dict):
    text = body.get("message") or body.get("detail")
  response = getattr(error, "response", None)
  text = text or (response is not None and response.text)
  text = str(text or error or "no reason given")
  # A shorter one is no secret, but may be a part of a word.
  if len(key) >= 8:
    text = text.replace(key, "KEY")
  text = " ".join(text.split()).rstrip(".")
  return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


def _key(name: str, local: bool) -> str:
  """The key from the environment."""
  key = os.environ.get(name, "").strip()
  if not key:
    if local:
      return _NO_KEY
    raise EndpointError(
      f"no key: set the environment variable {name}, or give the base URL of a "
      "local server."
    )
  if not key.isascii() or not key.isprintable() or " " in key:
    raise EndpointError(
      f"{name}: holds no key but something with spaces, line breaks or other "
      "characters that no key has."
    )
  return key


def _host(url: str) -> str:
  """A URL's host."""
  try:
    parts = urllib.parse.urlsplit(url)
    host, _ = parts.hostname, parts.port
  except ValueError:
    host = None
  if not host or parts.scheme not in ("http", "https"):
    raise EndpointError(
      f"base URL {url.rpartition('@')[2]!r}: not of the form "
      "http://HOST:PORT/v1 or https://HOST/v1."
    )
  return host


def _is_local(host: str) -> bool:
  """Whether a host is of this machine or of its own network."""
  try:
    return ipaddress.ip_address(host).is_private
  except ValueError:
    return "." not in host or host.endswith((".local", ".localhost"))


def _package():
  """The package openai."""
  try:
    import openai
  except ImportError as error:
    raise EndpointError(
      "the package openai is missing: pip install 'ltu-jax[evaluate]'"
    ) from error
  return openai
