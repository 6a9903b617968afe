"""How an answer is drawn, as clients say it: the same for all endpoints."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from ltu_jax.sampling import PUBLISHED, SamplingConfig

MOST_TEXT = 50_000
"""Characters of a question with all that was said before."""

MOST_ANSWERS = 8
"""Answers to one request."""


def _text(value: str) -> str:
  """Refuses what no tokenizer can read."""
  try:
    value.encode()
  except UnicodeEncodeError:
    raise ValueError("this text is no valid Unicode") from None
  return value


def _temperature(value: float | None) -> float | None:
  """Refuses what float32 cannot divide by."""
  if value and value < 1e-3:
    raise ValueError("must be 0 (greedy) or at least 0.001")
  return value


Text = Annotated[str, Field(max_length=MOST_TEXT), AfterValidator(_text)]
"""Text for the model."""

StopText = Annotated[
  str, Field(min_length=1, max_length=200), AfterValidator(_text)
]
"""A string that ends an answer."""


class Drawing(BaseModel):
  """How tokens are chosen; the defaults are those of the published LTU."""

  temperature: Annotated[
    float,
    Field(ge=0, le=100, description="0 takes the most likely token."),
    AfterValidator(_temperature),
  ] = PUBLISHED.temperature
  top_p: float = Field(PUBLISHED.top_p, gt=0, le=1)
  top_k: int = Field(
    PUBLISHED.top_k, ge=0, le=1_000_000, description="0 keeps all."
  )
  repetition_penalty: float = Field(
    PUBLISHED.repetition_penalty, ge=0.01, le=100, description="1 is none."
  )
  max_new_tokens: int = Field(PUBLISHED.max_new_tokens, ge=1, le=1_000_000)
  seed: int = Field(
    0,
    ge=0,
    lt=2**32,
    description="The same seed gives the same answer.",
  )
  n: int = Field(1, ge=1, le=MOST_ANSWERS, description="How many answers.")

  def sampling(self) -> SamplingConfig:
    """The settings of the model's draws."""
    return SamplingConfig(
      temperature=self.temperature,
      top_p=self.top_p,
      top_k=self.top_k,
      repetition_penalty=self.repetition_penalty,
      max_new_tokens=self.max_new_tokens,
    )
