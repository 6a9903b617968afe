"""Embeddings of an OpenAI-compatible endpoint, such as the published one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltu_jax.endpoint import client as client_lib
from ltu_jax.evaluate.embeddings.embedder import unit
from ltu_jax.evaluate.errors import EvaluateError

MODEL = "text-embedding-ada-002"
"""What the published numbers were computed with."""

_BATCH = 256
"""Texts of a request; OpenAI takes 2048, small servers fewer."""


class EndpointEmbedder:
  """A model behind `POST BASE/embeddings`.

  Attributes:
    name: MODEL at URL. What stands behind it is the server's promise.
  """

  def __init__(
    self,
    model: str = MODEL,
    base_url: str | None = None,
    key_name: str = "OPENAI_API_KEY",
  ):
    """Makes a client; nothing is asked yet.

    Args:
      model: The name that the endpoint knows.
      base_url: See ltu_jax/endpoint/client.py.
      key_name: The environment variable that has the key.

    Raises:
      EndpointError: See ltu_jax/endpoint/client.py.
    """
    self._client, self._model = client_lib.client(base_url, key_name), model
    url = client_lib.shown(str(self._client.base_url))
    self.name = f"{model} at {url}"

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """Embeds texts; see Embedder."""
    batches = [
      self._embed(list(texts[start : start + _BATCH]))
      for start in range(0, len(texts), _BATCH)
    ]
    if not batches:
      return np.zeros((0, 0), np.float32)
    widths = {batch.shape[1] for batch in batches}
    if len(widths) > 1:
      raise EvaluateError(
        f"{self.name}: gave vectors of different lengths: {sorted(widths)}."
      )
    return unit(np.concatenate(batches), self.name)

  def _embed(self, texts: list[str]) -> np.ndarray:
    """Vectors of a request's texts, [n, d], not of length 1."""
    data = self._ask(texts)
    if [one.index for one in data] != list(range(len(texts))):
      raise EvaluateError(
        f"{self.name}: was asked for {len(texts)} vectors and gave {len(data)}"
        " that are not numbered like the texts."
      )
    widths = {len(one.embedding) for one in data}
    if len(widths) != 1 or not min(widths):
      raise EvaluateError(
        f"{self.name}: gave vectors of different lengths: {sorted(widths)}."
      )
    return np.array([one.embedding for one in data], np.float64)

  def _ask(self, texts: list[str]) -> list[Any]:
    """What the client makes of the answer, in the order of its numbers."""
    try:
      with client_lib.explained(self._client, self._model):
        found = self._client.embeddings.create(model=self._model, input=texts)
        return sorted(found.data, key=lambda one: one.index)
    # What the client's own code ends with where an answer has another form.
    except (TypeError, AttributeError) as error:
      raise EvaluateError(
        f"{self.name}: its answer is none of OpenAI's embeddings: {error}"
      ) from error
