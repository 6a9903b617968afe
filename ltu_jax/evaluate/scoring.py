"""Which way of scoring each kind of set has."""

from ltu_jax.evaluate import captioning, choosing, classes, opening
from ltu_jax.evaluate.sets.spec import (
  CAPTIONS,
  CHOICE,
  CLASSIFICATION,
  OPEN,
  ORDER,
)

SCORE = {
  CLASSIFICATION: classes.score,
  CAPTIONS: captioning.score,
  OPEN: opening.score,
  CHOICE: choosing.choice,
  ORDER: choosing.order,
}
"""(evaluator, spec, found, items) -> Scored, by kind."""
