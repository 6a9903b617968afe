"""What the service has done, for Prometheus."""

import time

from prometheus_client import (
  CollectorRegistry,
  Counter,
  Gauge,
  Histogram,
  generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ltu_jax.answers.answerer import Answer
from ltu_jax.serve.service import Service

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)

_ENDPOINTS = frozenset(
  {
    *("/v1/answers", "/v1/chat/completions", "/v1/models"),
    *("/healthz", "/metrics", "/openapi.json"),
  }
)

_REFUSED = frozenset({401, 403, 408, 413, 421, 429, 503})


class Metrics:
  """Counters of one app, in a registry of its own."""

  def __init__(self, service: Service):
    """Begins at zero.

    Args:
      service: Whose state is shown.
    """
    self._registry = registry = CollectorRegistry()
    self._requests = Counter(
      "ltu_requests",
      "Requests by endpoint and status; 499: the client went away.",
      ("endpoint", "status"),
      registry=registry,
    )
    self._rejected = Counter(
      "ltu_rejected",
      "Requests refused before they were answered, by status.",
      ("status",),
      registry=registry,
    )
    self._first = Histogram(
      "ltu_first_token_seconds",
      "From the question to the first text of its answer.",
      buckets=_SECONDS,
      registry=registry,
    )
    self._total = Histogram(
      "ltu_answer_seconds",
      "From the question to the end of its answer.",
      buckets=_SECONDS,
      registry=registry,
    )
    self._tokens = Counter(
      "ltu_tokens", "Tokens drawn in whole answers.", registry=registry
    )
    for name, meaning, value in (
      ("open", "Questions waiting or being answered.", "num_open"),
      ("active", "Questions that have a row.", "num_active"),
      ("rows", "Questions answered at once at most.", "num_rows"),
      ("capacity", "Questions open at most.", "capacity"),
      ("healthy", "1 if questions are taken.", "healthy"),
    ):
      gauge = Gauge(f"ltu_{name}", meaning, registry=registry)
      gauge.set_function(lambda value=value: float(getattr(service, value)))

  def text(self) -> bytes:
    """All of it, in Prometheus's text format."""
    return generate_latest(self._registry)

  def asked(self) -> "Timer":
    """A timer of one question, which begins now."""
    return Timer(self)

  def request(self, path: str, status: int) -> None:
    """Counts a request; unknown paths count together."""
    endpoint = path if path in _ENDPOINTS else "other"
    self._requests.labels(endpoint, status).inc()
    if status in _REFUSED:
      self._rejected.labels(status).inc()


class Timer:
  """Times one answer."""

  def __init__(self, metrics: Metrics):
    """Begins.

    Args:
      metrics: What is told.
    """
    self._metrics, self._began = metrics, time.monotonic()
    self._first = True

  def text(self) -> None:
    """Notes that some of the answer is there."""
    if self._first:
      self._first = False
      self._metrics._first.observe(time.monotonic() - self._began)

  def end(self, answer: Answer) -> None:
    """Notes a whole answer."""
    self._metrics._total.observe(time.monotonic() - self._began)
    self._metrics._tokens.inc(answer.tokens)


class Counting:
  """Counts every request of an app by its status."""

  def __init__(self, app: ASGIApp, metrics: Metrics):
    """Wraps an app.

    Args:
      app: What gets the requests.
      metrics: What is told.
    """
    self._app, self._metrics = app, metrics

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Passes a request on."""
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return
    status = 499

    async def sent(message: Message) -> None:
      nonlocal status
      if message["type"] == "http.response.start":
        status = message["status"]
      await send(message)

    try:
      await self._app(scope, receive, sent)
    except Exception:  # raised again: only counted here
      status = 500
      raise
    finally:
      self._metrics.request(scope["path"], status)
