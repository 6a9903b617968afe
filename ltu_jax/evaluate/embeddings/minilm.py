"""Sentence embeddings in JAX: all-MiniLM-L6-v2 and other BERTs with a mean.

N. Reimers, I. Gurevych, Sentence-BERT, 2019; W. Wang et al., MiniLM, 2020.
"""

import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from ltu_jax.evaluate.embeddings import bert, sentence_files
from ltu_jax.evaluate.embeddings.embedder import unit

_TOKENS = 512
"""That are computed at once: many short texts or few long ones."""

_SHORTEST = 16
"""Tokens. Texts are padded to this, its double, and so on, each length with its
one number of rows: five programs for texts of up to 256 tokens. A text's vector
does not depend on which other texts are asked for."""


class BertEmbedder:
  """A sentence-transformers folder of a BERT with mean pooling, in JAX.

  Attributes:
    name: TITLE@HASH, the hash over weights and tokenizer.
  """

  def __init__(self, folder: pathlib.Path, title: str = ""):
    """Loads a model.

    Args:
      folder: See `sentence_files`.
      title: For tables; the folder's name if it is "".

    Raises:
      UnsupportedError: JAX cannot do it here; says why.
    """
    files = sentence_files.read(folder)
    self.name = f"{title or folder.resolve().name}@{files.hash[:16]}"
    self._config, self._tokenizer = files.config, files.tokenizer
    self._max_length = files.max_length
    self._weights = jax.device_put(files.weights)
    self._width = files.weights["word"].shape[1]

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """Embeds texts; see Embedder."""
    vectors = np.zeros((len(texts), self._width), np.float32)
    ids = [code.ids for code in self._tokenizer.encode_batch(list(texts))]
    lengths = np.array([self._padded(len(i)) for i in ids], np.int64)
    for length in np.unique(lengths):
      same = np.flatnonzero(lengths == length)
      count = max(1, _TOKENS // int(length))
      for start in range(0, len(same), count):
        rows = same[start : start + count]
        some = [ids[row] for row in rows]
        vectors[rows] = self._embed(some, (count, int(length)))
    return unit(vectors, self.name) if len(texts) else vectors

  def _padded(self, length: int) -> int:
    """The number of tokens that a text is computed with."""
    padded = _SHORTEST
    while padded < length:
      padded *= 2
    return min(padded, self._max_length)

  def _embed(
    self, ids: Sequence[Sequence[int]], shape: tuple[int, int]
  ) -> np.ndarray:
    """Vectors of texts that are padded to a shape (rows, tokens)."""
    padded, mask = np.zeros(shape, np.int32), np.zeros(shape, bool)
    # A mean over no token is not a number: rows without a text have one.
    mask[:, 0] = True
    for row, text in enumerate(ids):
      padded[row, : len(text)] = text
      mask[row, : len(text)] = True
    out = bert.embed(self._weights, padded, mask, config=self._config)
    return np.asarray(out)[: len(ids)]
