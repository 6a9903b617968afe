"""One model: asks it in a way that its server takes."""

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ltu_jax.endpoint import client as client_lib
from ltu_jax.endpoint import cost

if TYPE_CHECKING:
  import openai

Messages = Sequence[Mapping[str, str]]
"""What a model is asked: the role and the content of each."""

_SCHEMA = "response_format"

_SCHEMA_WORDS = (_SCHEMA, "json_schema", "json schema", "structured output")
"""One of these is in the words of a server that refuses a schema."""


@dataclasses.dataclass(frozen=True)
class Said:
  """What a model said.

  Attributes:
    text: Its words.
    tokens: How many were asked, and how many it said, by its server's count.
    options: How it was asked: temperature and more.
    finish: Why it ended: "stop", or "length" if it was cut.
  """

  text: str
  tokens: tuple[int, int]
  options: Mapping[str, Any]
  finish: str = ""


class Chat:
  """Asks one model; its methods may be called by several threads."""

  def __init__(
    self,
    client: "openai.OpenAI",
    model: str,
    max_tokens: int,
    *,
    temperature: float = 0,
    schema: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] | None = None,
  ):
    """Sends nothing yet.

    Args:
      client: Of the model's server.
      model: Its name there.
      max_tokens: Of a reply.
      temperature: 0 for the same reply each time.
      schema: JSON schema that replies shall have; left out where the server
        refuses it.
      tell: Takes a line when something is left out that was asked for.
    """
    self._client, self._model = client, model
    self._lock, self._tell = threading.Lock(), tell
    self._options: dict[str, Any] = {
      "temperature": temperature,
      "max_tokens": max_tokens,
    }
    if schema:
      self._options[_SCHEMA] = {
        "type": "json_schema",
        "json_schema": {"name": "reply", "strict": True, "schema": schema},
      }

  def ask(self, messages: Messages) -> Said:
    """Asks once.

    Raises:
      NoReplyError: There is no reply.
    """
    with client_lib.explained(self._client, self._model):
      reply, options = self._create(messages)
      choices = getattr(reply, "choices", None)
      if not choices or not getattr(choices[0], "message", None):
        raise ValueError("it has no choices")
    choice = choices[0]
    text = choice.message.content or choice.message.refusal or ""
    shown = dict(options)
    if shown.pop(_SCHEMA, None):
      shown["json_schema"] = True
    tokens = _tokens(reply.usage, messages, options)
    return Said(text, tokens, shown, choice.finish_reason or "")

  def _create(self, messages: Messages) -> tuple[Any, dict[str, Any]]:
    """The server's reply, and the options that it took."""
    import openai

    while True:
      options = self._options
      try:
        reply = self._client.chat.completions.create(
          model=self._model, messages=list(messages), **options
        )
        return reply, options
      except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        others = _otherwise(options, error)
        if others == options:
          raise
        self._change(options, others)

  def _change(self, options: dict[str, Any], others: dict[str, Any]) -> None:
    """Asks otherwise from now on, and tells so once."""
    with self._lock:
      if self._options is not options:
        return  # another thread was told the same
      self._options = others
      if _SCHEMA in options and _SCHEMA not in others and self._tell:
        self._tell(
          f"{self._model}: its server takes no JSON schema; goes on without."
        )


def _otherwise(
  options: dict[str, Any], error: "openai.APIStatusError"
) -> dict[str, Any]:
  """Options without what a server refused: OpenAI's newer models do."""
  others = dict(options)
  if error.param == "temperature":
    others.pop("temperature", None)
  if error.param == "max_tokens" and "max_tokens" in others:
    others["max_completion_tokens"] = others.pop("max_tokens")
  words = f"{error.param} {error.message} {error.body}".lower()
  if any(word in words for word in _SCHEMA_WORDS):
    others.pop(_SCHEMA, None)
  return others


def _tokens(
  usage: Any, messages: Messages, options: Mapping[str, Any]
) -> tuple[int, int]:
  """What was sent and written; estimated where the server does not count."""
  asked = getattr(usage, "prompt_tokens", None)
  said = getattr(usage, "completion_tokens", None)
  if said is None:
    said = options.get("max_tokens") or options["max_completion_tokens"]
  return (cost.messages_tokens(messages) if asked is None else asked, said)
