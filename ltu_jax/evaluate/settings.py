"""How sets are asked and scored: what a number depends on beside the model."""

import dataclasses
from typing import Any

from ltu_jax import sampling
from ltu_jax.ask.asking import Way
from ltu_jax.evaluate import bootstrap
from ltu_jax.evaluate.sets.spec import CAPTIONS, Spec
from ltu_jax.sampling import SamplingConfig

_GREEDY_TOKENS = 48
"""Answers of openaqa/mini have up to 30 tokens."""


@dataclasses.dataclass(frozen=True)
class Settings:
  """How sets are asked and scored.

  Attributes:
    items: Of a set at most, at even distances; None for all.
    decode: "published", "greedy", or "" for what the set's spec says.
    max_new_tokens: Of an answer; None for 400, and 48 if greedy.
    seed: Of draws, of the control's exchange of clips, and of the bootstrap.
    samples: Captions drawn of each clip.
    protocols: How classes are scored: "published", "labels", "constrained".
    controls: "silent", "shuffled": what is asked beside.
    draws: Of the bootstrap; 0 leaves the intervals out.
    rows: Answers that are made at once.
  """

  items: int | None = None
  decode: str = ""
  max_new_tokens: int | None = None
  seed: int = 0
  samples: int = 5
  protocols: tuple[str, ...] = ("published", "constrained")
  controls: tuple[str, ...] = ()
  draws: int = bootstrap.DRAWS
  rows: int = 16

  def sampling(self, spec: Spec) -> SamplingConfig:
    """How tokens are chosen for a set."""
    if (self.decode or spec.decode) == "published":
      config = sampling.PUBLISHED
    else:
      # No penalty on repetition: a right answer repeats words of the question.
      config = SamplingConfig(
        temperature=0.0,
        repetition_penalty=1.0,
        max_new_tokens=_GREEDY_TOKENS,
      )
    most = self.max_new_tokens or config.max_new_tokens
    return dataclasses.replace(config, max_new_tokens=most)

  def way(self, spec: Spec) -> Way:
    """How a set's questions are asked."""
    config = self.sampling(spec)
    drawn = spec.kind == CAPTIONS and not config.greedy
    return Way(config, self.seed, samples=self.samples if drawn else 1)

  def as_json(self, spec: Spec) -> dict[str, Any]:
    """All that a set's numbers depend on, as plain values."""
    way = self.way(spec)
    return {
      "decode": dataclasses.asdict(way.config),
      "samples": way.samples,
      "seed": self.seed,
      "items": self.items,
      "draws": self.draws,
    }
