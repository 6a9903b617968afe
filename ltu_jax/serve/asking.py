"""Questions of one request: asked together, and taken back when it is left."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ltu_jax.answers.answerer import Answer, Piece, Question
from ltu_jax.serve import errors
from ltu_jax.serve.errors import ApiError
from ltu_jax.serve.metrics import Metrics
from ltu_jax.serve.service import Service

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Context:
  """What the endpoints work with.

  Attributes:
    service: What answers.
    metrics: What is told.
    pool: Threads that read JSON and sounds; as few as the machine bears.
    model: The model's name.
    created: When the server began, in seconds since 1970.
  """

  service: Service
  metrics: Metrics
  pool: Executor
  model: str
  created: int

  async def in_pool(self, function: Callable[..., _T], *args: Any) -> _T:
    """Calls a function on one of the threads."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(self.pool, function, *args)


def questions(question: Question, n: int) -> list[Question]:
  """The question n times, with draws of their own."""
  return [dataclasses.replace(question, sample=i) for i in range(n)]


async def pieces(
  context: Context, asked: Sequence[Question]
) -> AsyncIterator[tuple[int, Piece]]:
  """Pieces of several answers, as they come; all end when it is closed.

  Yields:
    (number of the question, what is new of its answer).

  Raises:
    BusyError: Too many are waiting.
    RequestError: A question cannot be answered.
    ServiceError: An answer could not be made.
  """
  found: asyncio.Queue[tuple[int, Piece | Exception]] = asyncio.Queue()

  async def ask(number: int, question: Question) -> None:
    timer = context.metrics.asked()
    try:
      stream = context.service.astream(question)
      async with contextlib.aclosing(stream):
        async for piece in stream:
          timer.text()
          if piece.answer:
            timer.end(piece.answer)
          found.put_nowait((number, piece))
    except Exception as error:  # told to whoever iterates
      found.put_nowait((number, error))

  tasks = [asyncio.create_task(ask(*item)) for item in enumerate(asked)]
  try:
    left = len(tasks)
    while left:
      number, piece = await found.get()
      if isinstance(piece, Exception):
        raise piece
      left -= piece.answer is not None
      yield number, piece
  finally:
    for task in tasks:
      task.cancel()


async def whole(context: Context, asked: Sequence[Question]) -> list[Answer]:
  """All answers, once they are whole; see `pieces`."""
  answers: dict[int, Answer] = {}
  stream = pieces(context, asked)
  async with contextlib.aclosing(stream):
    async for number, piece in stream:
      if piece.answer:
        answers[number] = piece.answer
  return [answers[number] for number in range(len(asked))]


async def unless_left(request: Request, result: Awaitable[_T]) -> _T:
  """Waits for a result as long as the client does; then cancels it.

  Raises:
    ApiError: The client has gone away; nobody reads it.
  """
  task = asyncio.ensure_future(result)
  gone = asyncio.ensure_future(_gone(request))
  try:
    await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
      raise ApiError(499, "the client has gone away.")
    return task.result()
  finally:
    gone.cancel()
    task.cancel()
    await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
  """Ends when the client goes away; the body has been read."""
  while (await request.receive())["type"] != "http.disconnect":
    pass


class Begun:
  """`pieces` of which the first is there; closed, all its answers end."""

  def __init__(
    self, first: tuple[int, Piece], rest: AsyncIterator[tuple[int, Piece]]
  ):
    """Puts the first before the rest."""
    self._first: tuple[int, Piece] | None = first
    self._rest = rest

  def __aiter__(self) -> "Begun":
    """Iterates once."""
    return self

  async def __anext__(self) -> tuple[int, Piece]:
    """The next piece."""
    if self._first is not None:
      first, self._first = self._first, None
      return first
    return await anext(self._rest)

  async def aclose(self) -> None:
    """Takes the questions back whose answers are not whole."""
    await self._rest.aclose()


async def begun(
  request: Request, context: Context, asked: Sequence[Question]
) -> Begun:
  """Asks, and waits for the first piece: until then, errors are HTTP's."""
  stream = pieces(context, asked)
  try:
    return Begun(await unless_left(request, anext(stream)), stream)
  except BaseException:
    await stream.aclose()
    raise


class Events(StreamingResponse):
  """Server-sent events, which end at once when the client goes away."""

  media_type = "text/event-stream"

  def __init__(self, events: AsyncIterator[str], source: Begun):
    """Begins an answer.

    Args:
      events: Made by `event`; an async generator.
      source: What they are made of; closed at the end, however that comes.
    """
    # Proxies such as nginx would hold the events back.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    super().__init__(events, headers=headers)
    self._source = source

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Sends all events."""
    try:
      await super().__call__(scope, receive, send)
    finally:
      await self.body_iterator.aclose()
      await self._source.aclose()


def event(data: Any, kind: str = "") -> str:
  """A server-sent event.

  Args:
    data: A JSON value.
    kind: The event's name; "" for none.
  """
  name = f"event: {kind}\n" if kind else ""
  return f"{name}data: {json.dumps(data, ensure_ascii=False)}\n\n"


def failed(error: Exception) -> dict[str, Any]:
  """What a stream says of an error in its middle."""
  return errors.body(errors.api_error(error))
