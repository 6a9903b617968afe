"""One judge: asks it about a response, in a way that its server takes."""

from typing import TYPE_CHECKING, Any

from ltu_jax.evaluate import endpoint
from ltu_jax.evaluate.judging import cost, prompt
from ltu_jax.evaluate.judging.verdicts import Said

if TYPE_CHECKING:
  import openai


class Asker:
  """Asks one model; its methods may be called by several threads."""

  def __init__(self, client: "openai.OpenAI", model: str, max_tokens: int):
    """Sends nothing yet.

    Args:
      client: Of the model's server.
      model: Its name there.
      max_tokens: Of an answer.
    """
    self._client, self._model = client, model
    self._options = {"temperature": 0, "max_tokens": max_tokens}

  def ask(self, question: str, response: str) -> Said:
    """Asks whether a response answers a question.

    Raises:
      EndpointError: There is no answer.
    """
    message = prompt.message(question, response)
    with endpoint.explained(self._client, self._model):
      reply, options = self._create(message)
      choices = getattr(reply, "choices", None)
      if not choices or not getattr(choices[0], "message", None):
        raise ValueError("it has no choices")
    text = choices[0].message.content or choices[0].message.refusal or ""
    if choices[0].finish_reason == "length" and prompt.is_cut(text):
      raise endpoint.EndpointError(
        f"{self._model}: had written all {_limit(options)} tokens that it may "
        "before it said anything but thoughts; let it write more.",
        lasting=False,
      )
    return Said(text, _tokens(reply.usage, message, options), options)

  def _create(self, message: str) -> tuple[Any, dict[str, float]]:
    """The server's reply, and the options that it took."""
    import openai

    while True:
      options = self._options
      try:
        reply = self._client.chat.completions.create(
          model=self._model,
          messages=[{"role": "user", "content": message}],
          **options,
        )
        return reply, options
      except openai.BadRequestError as error:
        others = _otherwise(options, error)
        if others == options:
          raise
        self._options = others


def _otherwise(
  options: dict[str, float], error: "openai.BadRequestError"
) -> dict[str, float]:
  """Options without what a server refused: OpenAI's newer models do."""
  others = dict(options)
  if error.param == "temperature":
    others.pop("temperature", None)
  if error.param == "max_tokens" and "max_tokens" in others:
    others["max_completion_tokens"] = others.pop("max_tokens")
  return others


def _limit(options: dict[str, float]) -> int:
  """How many tokens an answer may have."""
  limits = {k: v for k, v in options.items() if k != "temperature"}
  (limit,) = limits.values()
  return limit


def _tokens(
  usage: Any, message: str, options: dict[str, float]
) -> tuple[int, int]:
  """What was sent and written; estimated where the server does not count."""
  asked = getattr(usage, "prompt_tokens", None)
  said = getattr(usage, "completion_tokens", None)
  return (
    cost.message_tokens(message) if asked is None else asked,
    _limit(options) if said is None else said,
  )
