"""OpenAI's chat requests: what is read of them, as a question to LTU.

LTU knows no system message: its text is put before the question that follows.
It hears one sound at a time: the latest one of a dialogue.
"""

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import (
  BaseModel,
  ConfigDict,
  Discriminator,
  Field,
  Tag,
  field_validator,
  model_validator,
)

from ltu_jax.serve.errors import ApiError, printable
from ltu_jax.serve.fields import MOST_TEXT, Drawing, StopText, Text

_FORMATS = ("wav", "mp3", "flac", "ogg", "opus", "aiff", "aif", "au", "caf")

_NO_CHANGE: dict[str, tuple[Any, ...]] = {
  "tools": ([],),
  "tool_choice": ("none", "auto"),
  "functions": ([],),
  "function_call": ("none", "auto"),
  "response_format": ({"type": "text"},),
  "modalities": (["text"], []),
  "audio": (),
  "logprobs": (False,),
  "top_logprobs": (0,),
  "logit_bias": ({},),
  "frequency_penalty": (0,),
  "presence_penalty": (0,),
  "web_search_options": (),
}
"""Fields that LTU cannot heed, with values that ask for nothing."""


class TextPart(BaseModel):
  """Text of a message."""

  type: Literal["text"]
  text: Text


class InputAudio(BaseModel):
  """A sound; its content says what it is, whatever the format says."""

  data: str = Field(description="The file in base64.")
  format: Literal[_FORMATS]


class AudioPart(BaseModel):
  """A sound in a message."""

  type: Literal["input_audio"]
  input_audio: InputAudio


Part = Annotated[TextPart | AudioPart, Field(discriminator="type")]
"""A part of a message."""


class Message(BaseModel):
  """A message; only users send sounds."""

  role: Literal["system", "developer", "user", "assistant"]
  content: Annotated[
    Annotated[Text, Tag("string")] | Annotated[list[Part], Tag("parts")],
    Discriminator(lambda v: "parts" if isinstance(v, list) else "string"),
  ]

  @field_validator("content", mode="before")
  @classmethod
  def _known_parts(cls, value: Any) -> Any:
    """Says clearly which parts cannot be used."""
    for part in value if isinstance(value, list) else ():
      kind = part.get("type") if isinstance(part, dict) else None
      if kind not in ("text", "input_audio"):
        raise ValueError(
          f"parts of type {printable(str(kind), 40)!r} cannot be used; only"
          " text and input_audio can"
        )
    return value


class StreamOptions(BaseModel):
  """How a stream ends."""

  include_usage: bool | None = None


class ChatRequest(BaseModel):
  """A chat completion; fields that do not matter are ignored."""

  model_config = ConfigDict(extra="allow")

  model: str
  messages: list[Message] = Field(min_length=1, max_length=200)
  temperature: float | None = None
  top_p: float | None = None
  top_k: int | None = None
  repetition_penalty: float | None = None
  max_tokens: int | None = Field(None, ge=1, le=1_000_000)
  max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
  seed: int | None = None
  n: int | None = None
  stop: StopText | Annotated[list[StopText], Field(max_length=8)] | None = None
  stream: bool | None = None
  stream_options: StreamOptions | None = None

  @model_validator(mode="before")
  @classmethod
  def _unsupported(cls, values: Any) -> Any:
    """Refuses fields that would change what is meant."""
    for name in _NO_CHANGE.keys() & values.keys():
      value = values[name]
      if value is not None and value not in _NO_CHANGE[name]:
        raise ApiError(
          400,
          f"{name}: LTU has no such thing; leave it out.",
          name,
          "unsupported_parameter",
        )
    return values

  def drawing(self) -> Drawing:
    """How tokens are chosen; without a seed it is 0."""
    most = self.max_completion_tokens
    fields = {
      "temperature": self.temperature,
      "top_p": self.top_p,
      "top_k": self.top_k,
      "repetition_penalty": self.repetition_penalty,
      "max_new_tokens": self.max_tokens if most is None else most,
      "seed": None if self.seed is None else self.seed % 2**32,
      "n": self.n,
    }
    given = {name: v for name, v in fields.items() if v is not None}
    return Drawing.model_validate(given)

  def stops(self) -> tuple[str, ...]:
    """Strings that end the answer."""
    return (
      (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
    )


@dataclasses.dataclass(frozen=True)
class Dialogue:
  """The messages as LTU takes them.

  Attributes:
    question: The last.
    before: (question, answer) pairs.
    audio: The latest sound; None without.
  """

  question: str
  before: tuple[tuple[str, str], ...]
  audio: InputAudio | None


def dialogue(messages: list[Message]) -> Dialogue:
  """Makes questions and answers of messages.

  Raises:
    ApiError: They are no dialogue that ends with a question.
  """
  before: list[tuple[str, str]] = []
  said: list[str] = []
  audio, asked, size = None, False, 0
  for number, message in enumerate(messages):
    place = f"messages.{number}"
    text, sound = _content(message, place)
    size += len(text)
    if message.role == "assistant":
      if not asked:
        raise ApiError(400, f"{place}: no question comes before it.", place)
      before.append(("\n".join(said), text))
      said, asked = [], False
      continue
    if message.role == "user":
      if not text.strip():
        raise ApiError(400, f"{place}: it has no text, no question.", place)
      asked, audio = True, sound or audio
    said.append(text)
  if not asked:
    raise ApiError(400, "messages: the last must be a user's.", "messages")
  if size > MOST_TEXT:
    raise ApiError(
      400, f"messages: they have over {MOST_TEXT} characters.", "messages"
    )
  return Dialogue("\n".join(said), tuple(before), audio)


def _content(message: Message, place: str) -> tuple[str, InputAudio | None]:
  """Text and sound of a message."""
  if isinstance(message.content, str):
    return message.content, None
  texts = [p.text for p in message.content if isinstance(p, TextPart)]
  sounds = [p for p in message.content if isinstance(p, AudioPart)]
  if sounds and message.role != "user":
    raise ApiError(400, f"{place}: only users send sounds.", place)
  if len(sounds) > 1:
    raise ApiError(400, f"{place}: LTU hears one sound at a time.", place)
  return "\n".join(texts), sounds[0].input_audio if sounds else None
