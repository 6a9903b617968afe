"""The app: all endpoints of a service, with its guards around them."""

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from fastapi import FastAPI, Response
from pydantic import BaseModel
from starlette.middleware import Middleware

from ltu_jax.serve import (
  answers_endpoint,
  chat_endpoint,
  errors,
  limits,
)
from ltu_jax.serve.access import Access
from ltu_jax.serve.asking import Context
from ltu_jax.serve.limits import BodyLimit
from ltu_jax.serve.metrics import Counting, Metrics
from ltu_jax.serve.service import Service


@dataclasses.dataclass(frozen=True)
class Settings:
  """How an app treats its clients.

  Attributes:
    model: The model's name.
    token: What clients must show; "" for none.
    hosts: Names that the Host header may have (access.py); None for any.
    max_upload_mb: Of 2**20 bytes; largest body of a request.
    body_seconds: How long a body may take to come.
    decoders: Threads that read JSON and sounds.
  """

  model: str = "ltu"
  token: str = ""
  hosts: frozenset[str] | None = None
  max_upload_mb: float = 25
  body_seconds: float = 60
  decoders: int = 2


class Health(BaseModel):
  """Whether questions are taken."""

  status: Literal["ok", "unavailable"]
  open: int
  active: int
  capacity: int


def make_app(
  service: Service,
  settings: Settings,
  page: Callable[[FastAPI], None] | None = None,
) -> FastAPI:
  """Makes the app.

  It serves /openapi.json, and no page of its documentation, as the usual ones
  load their scripts from elsewhere.

  Args:
    service: What answers.
    settings: How clients are treated.
    page: Mounts a page for people at "/"; called last. None for none.
  """
  metrics = Metrics(service)
  context = Context(
    service,
    metrics,
    ThreadPoolExecutor(settings.decoders, "ltu sounds"),
    settings.model,
    int(time.time()),
  )
  most = int(settings.max_upload_mb * (1 << 20))
  app = FastAPI(
    title="LTU",
    description="Ask a model about sounds.",
    version="1",
    docs_url=None,
    redoc_url=None,
    # The outermost first.
    middleware=[
      Middleware(Counting, metrics=metrics),
      Middleware(Access, hosts=settings.hosts, token=settings.token),
      Middleware(BodyLimit, most=most, seconds=settings.body_seconds),
    ],
  )
  errors.add_handlers(app)
  for endpoint in (answers_endpoint, chat_endpoint):
    app.include_router(endpoint.router(context), responses=errors.RESPONSES)

  @app.get(
    "/healthz",
    summary="Whether questions are taken",
    response_model=Health,
    responses={503: {"model": Health, "description": "They are not."}},
  )
  async def healthz(response: Response) -> Any:
    healthy = service.healthy
    response.status_code = 200 if healthy else 503
    return Health(
      status="ok" if healthy else "unavailable",
      open=service.num_open,
      active=service.num_active,
      capacity=service.capacity,
    )

  @app.get("/metrics", include_in_schema=False)
  async def show_metrics() -> Response:
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return Response(metrics.text(), media_type=kind)

  _complete(app, settings)
  if page is not None:
    page(app)
  return app


def _complete(app: FastAPI, settings: Settings) -> None:
  """Adds to the OpenAPI document what FastAPI cannot see."""
  made = app.openapi

  def openapi() -> dict[str, Any]:
    if app.openapi_schema:
      return app.openapi_schema
    document = made()
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name, schema in limits.SCHEMAS.items():
      schemas.setdefault(name, schema)
    text_event = answers_endpoint.TextEvent
    schemas[text_event.__name__] = text_event.model_json_schema()
    if settings.token:
      parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
      document["security"] = [{"token": []}]
      document["paths"]["/healthz"]["get"]["security"] = []
    return document

  app.openapi = openapi
