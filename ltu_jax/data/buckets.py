"""Steps of rows that are about equally long: less padding, few shapes.

All rows of a batch have one length, whatever they hold. So rows are put into
buckets by what they hold, and every batch is of one bucket, whose width is its
T. The step is compiled once for each.

Letters: R rows, T tokens of a row, B rows of a batch.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ltu_jax.data import packing

PADDING = -1
"""In place of a row that the last batch of an epoch lacks."""


@dataclasses.dataclass(frozen=True)
class Shape:
  """Of the batches of a bucket.

  Attributes:
    rows: B, over all hosts.
    tokens: T.
  """

  rows: int
  tokens: int


def shapes(
  widths: Sequence[int], batch_size: int, are_packed: bool
) -> list[Shape]:
  """The shapes of the batches, the widest last.

  With one question a row, all have `batch_size` rows, and so as many questions.
  Packed rows hold questions as they hold tokens: batches of narrow rows have
  more of them, so that a batch has about as many questions as any other. Their
  number is a multiple of a quarter of `batch_size`, where 4 divides it, so that
  they can be cut over devices.

  Args:
    widths: T of each bucket, increasing.
    batch_size: B of the widest.
    are_packed: Whether rows have several questions.
  """
  unit = batch_size // 4 if batch_size % 4 == 0 else batch_size
  rows = lambda width: batch_size * widths[-1] // width // unit * unit
  return [Shape(rows(w) if are_packed else batch_size, w) for w in widths]


def needs_lengths(data: Mapping[str, Any]) -> bool:
  """Whether rows are made by how long texts are; `data` is `config.data`."""
  return data["questions_per_row"] > 1 or bool(data["length_buckets"])


def widths(length_buckets: Sequence[int], row_tokens: int) -> list[int]:
  """Widths of the batches: the buckets below a row's width, and that."""
  return [width for width in length_buckets if width < row_tokens] + [
    row_tokens
  ]


def shapes_of(data: Mapping[str, Any], max_tokens: int) -> list[Shape]:
  """Shapes of the batches, the widest last; known without the data.

  Args:
    data: `config.data`.
    max_tokens: Tokens of a question at most, in the stage.
  """
  is_packed = data["questions_per_row"] > 1
  row_tokens = (data["row_tokens"] if is_packed else 0) or max_tokens
  every = widths(data["length_buckets"], row_tokens)
  return shapes(every, data["batch_size"], is_packed)


class Buckets:
  """The steps of a stage: each its rows and its shape, without end.

  An epoch has every row once. What is left of a bucket when its batches are
  full goes into the next wider one; the last batch of the widest is filled up
  with PADDING. Batches are in the order of their rows (`packing.Order`), so
  that rows of a clip stay apart and buckets come mixed.

  Attributes:
    num_steps: Steps of an epoch.
  """

  def __init__(
    self,
    clips: np.ndarray,
    tokens: np.ndarray,
    shapes: Sequence[Shape],
    seed: int,
  ):
    """Sorts the rows into buckets.

    Args:
      clips: [R], clip of each row; those of a clip lie together.
      tokens: [R], what each row holds, at most the widest's.
      shapes: Of the batches, from narrow to wide.
      seed: Decides the order.
    """
    self._shapes = tuple(shapes)
    self._order = packing.Order(clips, seed)
    self._bucket = np.searchsorted([s.tokens for s in shapes], tokens)
    self._steps = packing.Kept(self._epoch)
    carried, self.num_steps = 0, 0
    counts = np.bincount(self._bucket, minlength=len(shapes))
    for shape, count in zip(shapes, counts, strict=True):
      steps, carried = divmod(int(count) + carried, shape.rows)
      self.num_steps += steps
    self.num_steps += carried > 0

  def __getitem__(self, step: int) -> tuple[np.ndarray, Shape]:
    """Rows of a step (int [B], PADDING among them) and its shape."""
    epoch, place = divmod(int(step), self.num_steps)
    return self._steps(epoch)[place]

  def _epoch(self, epoch: int) -> list[tuple[np.ndarray, Shape]]:
    """The steps of an epoch."""
    order = self._order.epoch(epoch)
    bucket = self._bucket[order]
    found, left = [], np.zeros(0, np.int64)
    for number, shape in enumerate(self._shapes):
      # Places in the order, of rows of this bucket and those left before.
      places = np.union1d(left, np.flatnonzero(bucket == number))
      whole = len(places) // shape.rows * shape.rows
      batches, left = places[:whole].reshape(-1, shape.rows), places[whole:]
      found += [(at.mean(), order[at], shape) for at in batches]
    if len(left):
      rows = np.full(self._shapes[-1].rows, PADDING, np.int32)
      rows[: len(left)] = order[left]
      found.append((left.mean(), rows, self._shapes[-1]))
    found.sort(key=lambda step: step[0])
    return [(rows, shape) for _, rows, shape in found]
