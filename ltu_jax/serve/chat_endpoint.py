"""POST /v1/chat/completions and GET /v1/models, in the form of OpenAI's API."""

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ltu_jax.answers.answerer import Answer, Question
from ltu_jax.audio.heard import Heard, hear
from ltu_jax.serve import asking, errors, limits, sounds
from ltu_jax.serve.asking import Context
from ltu_jax.serve.chat_messages import ChatRequest, Dialogue, dialogue
from ltu_jax.serve.errors import ApiError

_Ended = Literal["stop", "length"]


class ReplyMessage(BaseModel):
  """An answer."""

  role: Literal["assistant"] = "assistant"
  content: str
  refusal: None = None


class Choice(BaseModel):
  """One of n answers."""

  index: int
  message: ReplyMessage
  finish_reason: _Ended
  logprobs: None = None


class CachedTokens(BaseModel):
  """Tokens of the prompt that did not have to be read."""

  cached_tokens: int


class ChatUsage(BaseModel):
  """Tokens; those of the sound are among the prompt's."""

  prompt_tokens: int
  completion_tokens: int
  total_tokens: int
  prompt_tokens_details: CachedTokens


class ChatCompletion(BaseModel):
  """Answers, with what was changed of the sound."""

  id: str
  object: Literal["chat.completion"] = "chat.completion"
  created: int
  model: str
  choices: list[Choice]
  usage: ChatUsage
  notes: list[str]


class ModelCard(BaseModel):
  """A model."""

  id: str
  object: Literal["model"] = "model"
  created: int
  owned_by: str = "ltu_jax"


class ModelList(BaseModel):
  """The models that can be asked."""

  object: Literal["list"] = "list"
  data: list[ModelCard]


def router(context: Context) -> APIRouter:
  """The endpoints."""
  router = APIRouter()
  card = ModelCard(id=context.model, created=context.created)

  @router.get("/v1/models", summary="Models", response_model=ModelList)
  async def models() -> Any:
    return ModelList(data=[card])

  @router.get("/v1/models/{name}", summary="A model", response_model=ModelCard)
  async def model(name: str) -> Any:
    _check_model(name, context)
    return card

  @router.post(
    "/v1/chat/completions",
    summary="Chat, as OpenAI's API has it",
    response_model=ChatCompletion,
    responses={
      200: {
        "description": "The answers. With stream=true, OpenAI's chunks.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
      }
    },
    openapi_extra=limits.body_schema(ChatRequest, "application/json"),
  )
  async def chat(request: Request) -> Any:
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
      raise ApiError(415, "the body must be JSON: application/json.")
    body = await request.body()
    asked, said, heard = await asking.unless_left(
      request, context.in_pool(_read, body, context)
    )
    drawing = asked.drawing()
    question = Question(
      said.question,
      heard.clip if heard else None,
      said.before,
      drawing.sampling(),
      drawing.seed,
      stop=asked.stops(),
    )
    reply = _Reply(context.model, heard.all_notes if heard else ())
    all_asked = asking.questions(question, drawing.n)
    if asked.stream:
      begun = await asking.begun(request, context, all_asked)
      options = asked.stream_options
      with_usage = bool(options and options.include_usage)
      events = reply.chunks(begun, drawing.n, with_usage)
      return asking.Events(events, begun)
    return reply.whole(
      await asking.unless_left(request, asking.whole(context, all_asked))
    )

  return router


def _read(
  body: bytes, context: Context
) -> tuple[ChatRequest, Dialogue, Heard | None]:
  """Reads a request; on a thread, as JSON and sounds may be large."""
  asked = ChatRequest.model_validate(limits.parse_json(body))
  _check_model(asked.model, context)
  said = dialogue(asked.messages)
  if said.audio is None:
    return asked, said, None
  try:
    data = sounds.from_base64(said.audio.data)
  except ValueError as error:
    raise ApiError(400, f"input_audio.data: {error}", "messages") from error
  return asked, said, hear(data, f"the {said.audio.format} sound")


def _check_model(name: str, context: Context) -> None:
  """Refuses the names of other models."""
  if name != context.model:
    raise ApiError(
      404,
      f"there is no model {errors.printable(name, 60)!r} here, but"
      f" {context.model!r}.",
      "model",
      "model_not_found",
    )


class _Reply:
  """Answers in the form of OpenAI's API."""

  def __init__(self, model: str, notes: tuple[str, ...]):
    self._notes = notes
    self._head = {
      "id": f"chatcmpl-{uuid.uuid4().hex}",
      "created": int(time.time()),
      "model": model,
    }

  def whole(self, answers: list[Answer]) -> ChatCompletion:
    """All at once."""
    choices = [
      Choice(
        index=index,
        message=ReplyMessage(content=answer.text),
        finish_reason=answer.ended,
      )
      for index, answer in enumerate(answers)
    ]
    return ChatCompletion(
      **self._head,
      choices=choices,
      usage=_usage(answers),
      notes=list(self._notes),
    )

  async def chunks(
    self, begun: asking.Begun, n: int, with_usage: bool
  ) -> AsyncIterator[str]:
    """Piece by piece: roles, text, how each ended, usage."""
    usage = {"usage": None} if with_usage else {}
    answers: list[Answer] = []
    for index in range(n):
      yield self._chunk(index, {"role": "assistant", "content": ""}, **usage)
    try:
      async for index, piece in begun:
        if piece.text:
          yield self._chunk(index, {"content": piece.text}, **usage)
        if piece.answer:
          answers.append(piece.answer)
          yield self._chunk(index, {}, piece.answer.ended, **usage)
    except Exception as error:  # the status is sent: an event says it
      yield asking.event(asking.failed(error))
      return
    if with_usage:
      yield asking.event(
        {
          **self._head,
          "object": "chat.completion.chunk",
          "choices": [],
          "usage": _usage(answers).model_dump(),
          "notes": list(self._notes),
        }
      )
    yield "data: [DONE]\n\n"

  def _chunk(
    self, index: int, delta: dict, ended: str | None = None, **more: Any
  ) -> str:
    """One event."""
    choice = {
      "index": index,
      "delta": delta,
      "finish_reason": ended,
      "logprobs": None,
    }
    head = {**self._head, "object": "chat.completion.chunk"}
    return asking.event({**head, "choices": [choice], **more})


def _usage(answers: list[Answer]) -> ChatUsage:
  """Tokens of all answers to one prompt."""
  read = answers[0].prompt_tokens
  drawn = sum(answer.tokens for answer in answers)
  return ChatUsage(
    prompt_tokens=read,
    completion_tokens=drawn,
    total_tokens=read + drawn,
    prompt_tokens_details=CachedTokens(cached_tokens=answers[0].reused),
  )
