"""What asking a model will cost, before it is asked."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from ltu_jax.endpoint.errors import EndpointError

_BYTES_PER_TOKEN = 4
"""Of English text; common tokenizers take 4 to 5."""

_MESSAGE_TOKENS = 24
"""What a chat template adds to a message, and most servers count."""

_MILLION = 1_000_000


@dataclasses.dataclass(frozen=True)
class Prices:
  """Of a million tokens, in any one currency.

  Attributes:
    asked: Of tokens that are sent.
    said: Of tokens that the model writes.
  """

  asked: float
  said: float

  @classmethod
  def parse(cls, text: str) -> "Prices":
    """Reads `IN,OUT`, such as "2.5,10".

    Raises:
      EndpointError: It is something else.
    """
    try:
      asked, said = map(float, text.split(","))
    except ValueError:
      asked = said = math.nan
    if not (0 <= asked < math.inf and 0 <= said < math.inf):
      raise EndpointError(
        f"prices {text!r}: two numbers are needed, for a million tokens sent "
        "and a million written, such as 2.5,10."
      )
    return cls(asked, said)

  def cost(self, tokens: tuple[int, int]) -> float:
    """Of so many tokens sent and written."""
    return (tokens[0] * self.asked + tokens[1] * self.said) / _MILLION


@dataclasses.dataclass(frozen=True)
class Estimate:
  """How much there is to ask.

  Attributes:
    requests: Messages to send.
    asked: Tokens in them, about.
    said: Tokens of replies, at most.
  """

  requests: int
  asked: int
  said: int

  def line(self, prices: Prices | None) -> str:
    """For people, with the cost if prices are known."""
    text = (
      f"{self.requests} requests, about {self.asked} tokens to send and at most"
      f" {self.said} to be written"
    )
    if prices is None:
      return f"{text}; no prices are given"
    return f"{text}, together about {self.cost(prices):.4g} at most"

  def cost(self, prices: Prices) -> float:
    """In the currency of the prices."""
    return prices.cost((self.asked, self.said))


def estimate(
  messages: Iterable[Sequence[Mapping[str, str]]], max_tokens: int
) -> Estimate:
  """Estimates tokens without the model's tokenizer.

  Args:
    messages: All that is to be sent: the messages of each request.
    max_tokens: Of a reply, at most.
  """
  requests = asked = 0
  for request in messages:
    requests += 1
    asked += messages_tokens(request)
  return Estimate(requests, asked, requests * max_tokens)


def messages_tokens(messages: Sequence[Mapping[str, str]]) -> int:
  """About how many tokens a request has."""
  return sum(message_tokens(message["content"]) for message in messages)


def message_tokens(message: str) -> int:
  """About how many tokens a message has."""
  size = len(message.encode(errors="replace"))
  return math.ceil(size / _BYTES_PER_TOKEN) + _MESSAGE_TOKENS
