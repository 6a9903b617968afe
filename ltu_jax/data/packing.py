"""Several questions about one clip in one row: which, and in which order.

A row of the batch hears its clip once and holds as many of the clip's questions
as fit. Here questions are numbers with a clip and a length; rows are made of
them by `openaqa.make_row`. NumPy alone, nothing question by question: a
plan for the 5.7 million of OpenAQA takes seconds.

Letters: Q questions, R rows.
"""

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")

_EPOCHS_KEPT = 2
"""Orders in memory: threads read ahead across the end of an epoch."""


@dataclasses.dataclass(frozen=True)
class Plan:
  """Which questions are in which row.

  Attributes:
    questions: int32 [Q], numbers of questions, row after row, each once.
    starts: int64 [R + 1], where the rows begin in `questions`.
    clips: int32 [R], the clip of each row; those of a clip lie together.
    tokens: int32 [R], tokens of the questions of each row.
  """

  questions: np.ndarray
  starts: np.ndarray
  clips: np.ndarray
  tokens: np.ndarray

  @property
  def num_rows(self) -> int:
    """R."""
    return len(self.clips)

  @property
  def questions_per_row(self) -> float:
    """Mean number of questions of a row."""
    return len(self.questions) / self.num_rows

  def __getitem__(self, row: int) -> np.ndarray:
    """Numbers of the questions of a row."""
    return self.questions[self.starts[row] : self.starts[row + 1]]


def pack(
  clip: np.ndarray,
  length: np.ndarray,
  *,
  questions_per_row: int,
  row_tokens: int,
  seed: int,
) -> Plan:
  """Packs the questions of each clip into few rows.

  Best fit in decreasing order: the longest question first, each into the row
  with the least room that still takes it, or else into a new one. Equal lengths
  come in random order.

  Args:
    clip: int [Q], clip of each question, in any order.
    length: int [Q], tokens of each question, at least 1.
    questions_per_row: Questions of a row at most.
    row_tokens: Tokens of a row at most.
    seed: Decides the order of questions of one length.

  Raises:
    ValueError: A question that no row takes, or no questions at all.
  """
  if not len(clip):
    raise ValueError("there are no questions to pack")
  if questions_per_row < 1 or length.max() > row_tokens:
    raise ValueError(
      f"rows of {questions_per_row} questions and {row_tokens} tokens cannot"
      f" take a question of {length.max()} tokens"
    )
  order = np.lexsort((_draw(seed, 0, len(clip)), -length, clip))
  of_clips, firsts, counts = np.unique(
    clip[order], return_index=True, return_counts=True
  )
  # Clips with most questions first: those with more than j are the first of
  # them, and all get their question j at once.
  by_count = np.argsort(-counts, kind="stable")
  bins, num_bins = _best_fit(
    length[order],
    firsts[by_count],
    counts[by_count],
    questions_per_row,
    row_tokens,
  )
  rows_of_clip = np.empty_like(num_bins)
  rows_of_clip[by_count] = num_bins
  starts = np.cumsum(rows_of_clip) - rows_of_clip
  row = np.repeat(starts, counts) + bins
  questions = order[np.argsort(row, kind="stable")].astype(np.int32)
  ends = np.cumsum(np.bincount(row))
  return Plan(
    questions=questions,
    starts=np.concatenate([[0], ends]),
    clips=np.repeat(of_clips, rows_of_clip).astype(np.int32),
    tokens=np.bincount(row, length[order]).astype(np.int32),
  )


def _best_fit(
  length: np.ndarray,
  firsts: np.ndarray,
  counts: np.ndarray,
  questions_per_row: int,
  row_tokens: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Places question after question, in all clips at once.

  Args:
    length: [Q], by clip and in the order in which they are placed.
    firsts: [C], where the questions of each clip begin.
    counts: [C], how many they are, decreasing.
    questions_per_row: At most.
    row_tokens: At most.

  Returns:
    [Q], the row of each question among those of its clip; [C], rows a clip.
  """
  full = row_tokens + 1  # more room than there is: nothing fits
  bins = np.empty(len(length), np.int32)
  used = np.zeros(len(counts), np.int32)
  # Tokens that rows hold and their questions; rows that are not begun hold 0.
  held = np.zeros((len(counts), 1), np.int32)
  sizes = np.zeros((len(counts), 1), np.int32)
  for j in range(counts[0]):
    active = np.searchsorted(-counts, -j, side="left")
    widest = int(used[:active].max()) + 1
    if widest > held.shape[1]:
      more = ((0, 0), (0, widest))
      held, sizes = (np.pad(x[:active], more) for x in (held, sizes))
    held, sizes = held[:active], sizes[:active]
    places = firsts[:active] + j
    after = held[:, :widest] + length[places][:, None]
    open_ = (after <= row_tokens) & (sizes[:, :widest] < questions_per_row)
    # The fullest row that takes it; the first that is not begun holds least.
    chosen = np.argmax(np.where(open_, after, -full), axis=1)
    here = np.arange(active)
    held[here, chosen] = after[here, chosen]
    sizes[here, chosen] += 1
    bins[places] = chosen
    np.maximum(used[:active], chosen + 1, out=used[:active])
  return bins, used


class Kept(Generic[T]):
  """What epochs need, made when it is asked for; the latest are kept."""

  def __init__(self, make: Callable[[int], T]):
    """Makes nothing yet; `make` takes the number of an epoch."""
    self._make, self._lock = make, threading.Lock()
    self._epochs: dict[int, T] = {}

  def __call__(self, epoch: int) -> T:
    """What an epoch needs; of several threads one makes it."""
    with self._lock:
      if epoch not in self._epochs:
        while len(self._epochs) >= _EPOCHS_KEPT:
          del self._epochs[min(self._epochs)]
        self._epochs[epoch] = self._make(epoch)
      return self._epochs[epoch]


class Order(Sequence[int]):
  """Rows in the order of training, epoch after epoch, without end.

  Each epoch has every row once, in an order of its own. The rows of a clip
  stand at even distances through the epoch, from a random start and in random
  order: a step hears as many clips as it can. A row is equally likely
  everywhere.
  """

  def __init__(self, clips: np.ndarray, seed: int):
    """Keeps what the order depends on.

    Args:
      clips: [R], clip of each row; those of a clip lie together.
      seed: Decides the order.
    """
    _, counts = np.unique(clips, return_counts=True)
    changes = np.flatnonzero(np.diff(clips)) + 1
    assert len(changes) + 1 == len(counts), "rows of a clip must lie together"
    self._counts, self._seed = counts, seed
    self._epochs = Kept(self.epoch)
    self.num_rows = len(clips)

  def __len__(self) -> int:
    """As many as grain can count: the order has no end."""
    return np.iinfo(np.int64).max

  def __getitem__(self, place: int) -> int:
    """The row at a place, counted from the start of training."""
    epoch, place = divmod(int(place), self.num_rows)
    return int(self._epochs(epoch)[place])

  def epoch(self, epoch: int) -> np.ndarray:
    """int32 [R], the rows of an epoch in their order."""
    counts = self._counts
    clip = np.repeat(np.arange(len(counts)), counts)
    draws = _draw(self._seed, epoch + 1, self.num_rows + len(counts))
    # The rows of each clip, shuffled: row i of its clip has the rank i then.
    shuffled = np.lexsort((draws[: self.num_rows], clip))
    rank = np.arange(self.num_rows) - np.repeat(
      np.cumsum(counts) - counts, counts
    )
    begin = draws[self.num_rows :] / 2.0**64
    at = (rank + np.repeat(begin, counts)) / np.repeat(counts, counts)
    return shuffled[np.argsort(at, kind="stable")].astype(np.int32)


def _draw(seed: int, stream: int, count: int) -> np.ndarray:
  """Returns random uint64 [count].

  Raw bits: of these alone NumPy promises that they stay the same (NEP 19), and
  a run may be resumed under another NumPy.
  """
  return np.random.Philox(key=[seed, stream]).random_raw(count)
