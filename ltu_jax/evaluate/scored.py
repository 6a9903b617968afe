"""What scoring a set's answers gives, before it is a result."""

import dataclasses
from collections.abc import Mapping, Sequence

from ltu_jax.evaluate.result import Classes, Metric


@dataclasses.dataclass
class Scored:
  """Numbers of a set, and what they are made of.

  Attributes:
    metrics: The numbers.
    answers: Of each item, for people.
    errors: Of each item: why it has no answer; "" if it has.
    said: Of each item by protocol; see `result.ItemResult`.
    score: Of each item by protocol.
    classes: Numbers by class; None where there are none.
    settings: More that the numbers depend on, such as the text embedder.
  """

  metrics: list[Metric]
  answers: list[Sequence[str]]
  errors: list[str]
  said: list[dict[str, str]]
  score: list[dict[str, float]]
  classes: Classes | None = None
  settings: Mapping[str, object] = dataclasses.field(default_factory=dict)

  @classmethod
  def empty(cls, count: int) -> "Scored":
    """Nothing is known of so many items."""
    return cls(
      [],
      [() for _ in range(count)],
      [""] * count,
      [{} for _ in range(count)],
      [{} for _ in range(count)],
    )
