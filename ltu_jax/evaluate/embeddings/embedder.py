"""What turns texts into vectors, whichever model does it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ltu_jax.evaluate.errors import EvaluateError


class Embedder(Protocol):
  """A model of sentences.

  Attributes:
    name: Which model it is, for tables and as part of the cache's key. Two that
      have the same name give the same vectors: the name of a local model ends
      in a hash of its files.
  """

  name: str

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """Embeds texts.

    Args:
      texts: Any number of any texts.

    Returns:
      float32 [len(texts), d]: vectors of length 1, in the texts' order; no rows
      without texts.

    Raises:
      EvaluateError: The model cannot do it; says why.
    """
    ...


def unit(vectors: np.ndarray, name: str) -> np.ndarray:
  """Scales vectors to length 1.

  Args:
    vectors: [n, d], any floats.
    name: Of the embedder, for the message.

  Returns:
    float32 [n, d].

  Raises:
    EvaluateError: A vector is zero or not finite: it has no direction.
  """
  vectors = np.asarray(vectors, np.float64)
  length = np.linalg.norm(vectors, axis=1, keepdims=True)
  if not (np.isfinite(length) & (length > 0)).all():
    raise EvaluateError(
      f"{name}: gave a vector that is zero or not finite; it cannot be used to"
      " compare texts."
    )
  return (vectors / length).astype(np.float32)
