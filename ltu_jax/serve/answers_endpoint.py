"""POST /v1/answers: a sound and a question as a form, an answer as JSON."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData, UploadFile

from ltu_jax import json_text
from ltu_jax.answers.answerer import Answer, Question
from ltu_jax.audio.heard import HEARD_SECONDS, hear
from ltu_jax.serve import asking, errors, limits, sounds
from ltu_jax.serve.asking import Context
from ltu_jax.serve.errors import ApiError
from ltu_jax.serve.fields import MOST_TEXT, Drawing, StopText, Text

_LISTS = ("stop",)
"""Fields that may be there several times."""


class AnswersForm(Drawing):
  """A question about a sound."""

  model_config = ConfigDict(extra="forbid")

  question: Text = Field(description="In plain words.")
  audio: Annotated[
    str | None,
    Field(
      description="A sound file (WAV, FLAC, MP3, OGG, Opus, AIFF, ...), of"
      f" which the first {HEARD_SECONDS} s are heard. Left out: the"
      " model answers from text alone.",
      json_schema_extra={"format": "binary"},
    ),
  ] = None
  before: list[tuple[Text, Text]] = Field(
    (),
    max_length=100,
    description="The dialogue so far: JSON list of [question, answer].",
  )
  stop: list[StopText] = Field(
    (), max_length=8, description="Strings that end the answer."
  )
  stream: bool = Field(False, description="Server-sent events.")


class AnswerBody(BaseModel):
  """An answer."""

  answer: str
  finished: bool = Field(description="Whether the model ended it.")
  ended: str = Field(description='"stop", or "length" if it was cut.')
  seconds: float = Field(description="Until it was whole.")


class AnswerUsage(BaseModel):
  """Tokens."""

  prompt_tokens: int = Field(description="Read; those of the sound included.")
  tokens: int = Field(description="Drawn, in all answers.")
  reused: int = Field(description="Of those read, which did not have to be.")


class AnswersBody(AnswerBody):
  """The answer to a question, with others if they were asked for."""

  notes: list[str] = Field(description="What was changed of the sound.")
  usage: AnswerUsage
  others: list[AnswerBody] = Field(description="The other n - 1 answers.")


class TextEvent(BaseModel):
  """Data of an event `text`; the last event, `answer`, is an AnswersBody."""

  index: int = Field(description="Of which answer, from 0.")
  text: str = Field(description="What is new.")


def router(context: Context) -> APIRouter:
  """The endpoint."""
  router = APIRouter()

  @router.post(
    "/v1/answers",
    summary="Ask about a sound",
    response_model=AnswersBody,
    responses={
      200: {
        "description": "The answer. With stream=true, events: `text` (a"
        " TextEvent), at last `answer` (an AnswersBody), or `error`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
      }
    },
    openapi_extra=limits.body_schema(AnswersForm, "multipart/form-data"),
  )
  async def answers(request: Request) -> Any:
    form = await limits.read_form(request)
    fields, upload = _fields(form)
    asked = AnswersForm.model_validate(fields)
    if sum(map(len, (asked.question, *sum(asked.before, ())))) > MOST_TEXT:
      raise ApiError(400, f"the text has over {MOST_TEXT} characters.")
    clip, notes = None, ()
    if upload is not None:
      name = sounds.file_name(upload.filename)
      data = upload.file.read()
      upload.file.close()
      heard = await asking.unless_left(
        request, context.in_pool(hear, data, name)
      )
      clip, notes = heard.clip, heard.all_notes
    question = Question(
      asked.question,
      clip,
      tuple(asked.before),
      asked.sampling(),
      asked.seed,
      stop=tuple(asked.stop),
    )
    all_asked = asking.questions(question, asked.n)
    if asked.stream:
      begun = await asking.begun(request, context, all_asked)
      return asking.Events(_events(begun, notes), begun)
    found = await asking.unless_left(request, asking.whole(context, all_asked))
    return _body(found, notes)

  return router


def _fields(form: FormData) -> tuple[dict[str, Any], UploadFile | None]:
  """Fields of a form as `AnswersForm` takes them, and its file.

  Raises:
    ApiError: A field is there twice, or is a file and should not be.
  """
  fields: dict[str, Any] = {}
  upload = None
  for name, value in form.multi_items():
    shown = errors.printable(name, 40)
    if isinstance(value, UploadFile) != (name == "audio"):
      what = "a file" if name == "audio" else "no file"
      raise ApiError(400, f"{shown}: this field must be {what}.", shown)
    if name in _LISTS:
      fields.setdefault(name, []).append(value)
    elif name in fields or (name == "audio" and upload):
      raise ApiError(400, f"{shown}: this field is there twice.", shown)
    elif isinstance(value, UploadFile):
      upload = value
    else:
      fields[name] = value
  if "before" in fields:
    try:
      fields["before"] = json_text.parse(fields["before"] or "[]")
    except ValueError as error:
      raise ApiError(400, f"before: no JSON: {error}", "before") from error
  return fields, upload


def _one(answer: Answer) -> AnswerBody:
  """One answer."""
  return AnswerBody(
    answer=answer.text,
    finished=answer.finished,
    ended=answer.ended,
    seconds=round(answer.seconds, 3),
  )


def _body(answers: list[Answer], notes: tuple[str, ...]) -> AnswersBody:
  """All answers to one question."""
  first, *others = answers
  return AnswersBody(
    **_one(first).model_dump(),
    notes=list(notes),
    usage=AnswerUsage(
      prompt_tokens=first.prompt_tokens,
      tokens=sum(answer.tokens for answer in answers),
      reused=first.reused,
    ),
    others=[_one(answer) for answer in others],
  )


async def _events(
  begun: asking.Begun, notes: tuple[str, ...]
) -> AsyncIterator[str]:
  """The answers as events."""
  whole: dict[int, Answer] = {}
  try:
    async for number, piece in begun:
      if piece.text:
        new = TextEvent(index=number, text=piece.text)
        yield asking.event(new.model_dump(), "text")
      if piece.answer:
        whole[number] = piece.answer
  except Exception as error:  # the status is sent: only an event can say it
    yield asking.event(asking.failed(error), "error")
    return
  answers = [whole[number] for number in sorted(whole)]
  yield asking.event(_body(answers, notes).model_dump(), "answer")
