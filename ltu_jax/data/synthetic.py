"""Made-up batches, for dry runs and measurements without any data.

Noise in place of sounds and random ids in place of text. A row depends on the
seed and its place in the stream alone, so neither hosts nor restarts change it.

Letters: B rows of a host's batch, T tokens of a row, N samples of a clip.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import grain
import numpy as np

from ltu_jax.data import share
from ltu_jax.data.buckets import Shape
from ltu_jax.data.openaqa import (
  AUDIO_TOKENS,
  CLIP_SAMPLES,
  MAX_TOKENS,
  Unreadable,
)

_ROWS = 1 << 40
"""Rows of the stream: more than any run takes."""


@dataclasses.dataclass(frozen=True)
class SyntheticBatches:
  """A stream with the form of `openaqa.Batches`.

  Attributes:
    batch_size: Rows of a batch over all hosts.
    seed: Decides all values.
    vocab_size: Ids are below it.
    max_tokens: Of a question; they have half as many to so many.
    row_tokens: T; 0 for `max_tokens`.
    questions_per_row: At most; so many as T has room for.
    text_only: No row has audio.
    audio_tokens: Positions that the model's audio takes up before the text.
    num_threads: Threads that each make a batch ahead.
  """

  batch_size: int
  seed: int
  vocab_size: int
  _: dataclasses.KW_ONLY
  max_tokens: int = MAX_TOKENS
  row_tokens: int = 0
  questions_per_row: int = 1
  text_only: bool = False
  audio_tokens: int = AUDIO_TOKENS
  num_threads: int = 4

  def dataset(self, places: share.Places = None) -> grain.IterDataset:
    """Returns one host's share of the stream; see `openaqa.Batches.dataset`.

    Raises:
      ValueError: If there are no places, or some are not of the batch.
    """
    rows = grain.MapDataset.range(_ROWS).map(self.row)
    return share.dataset(rows, places, self.batch_size, self.num_threads)

  def rows(self, step: int) -> list[int]:
    """Returns the places of batch `step` (from 0) in the stream."""
    return list(range(step * self.batch_size, (step + 1) * self.batch_size))

  def describe(self, row: int) -> dict[str, int]:
    """Returns what a row is: made up from its place."""
    return {"row": row}

  def skipped(
    self,
    step: int,
    batch: Mapping[str, np.ndarray],
    places: share.Places = None,
  ) -> Sequence[Unreadable]:
    """Returns nothing: every row can be read."""
    del step, batch, places
    return ()

  def shape(self, step: int) -> Shape:
    """Returns the shape of a batch: all are of the widest bucket."""
    del step
    return Shape(self.batch_size, self.row_tokens or self.max_tokens)

  def num_padding(self, step: int) -> int:
    """Returns 0: no row is missing."""
    del step
    return 0

  def row(self, place: int) -> dict[str, np.ndarray]:
    """Returns the row of a place; its form is that of `openaqa.make_row`."""
    rng = np.random.default_rng((self.seed, int(place)))
    width = self.row_tokens or self.max_tokens
    tokens = np.zeros((3, width), np.int32)
    weights = np.zeros(width, np.float32)
    begin = 0
    for number in range(1, self.questions_per_row + 1):
      n = int(rng.integers(max(2, self.max_tokens // 2), self.max_tokens + 1))
      if begin + n > width:
        break
      here = slice(begin, begin + n)
      tokens[0, here] = rng.integers(1, self.vocab_size, n, np.int32)
      tokens[1, here] = self.audio_tokens + np.arange(n)
      tokens[2, here] = number
      weights[begin + 1 : begin + n] = 1  # the first token is no target
      begin += n
    pcm, num_samples = np.zeros(CLIP_SAMPLES, np.int16), 0
    if not self.text_only:
      num_samples = CLIP_SAMPLES
      pcm = rng.integers(-8000, 8000, CLIP_SAMPLES, np.int16)
    return {
      "pcm": pcm,
      "num_samples": np.int32(num_samples),
      "tokens": tokens[0],
      "positions": tokens[1],
      "segment_ids": tokens[2],
      "loss_weights": weights,
    }
