"""Puts prompts that are read together into arrays of a few sizes.

Letters: R rows that are read, P prompt slots, V vocabulary.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ltu_jax import padding
from ltu_jax.answers.request import Task
from ltu_jax.answers.rows import Choice, New
from ltu_jax.models.ltu import LtuConfig


@dataclasses.dataclass(frozen=True)
class Place:
  """Where a task goes, and what it starts from.

  Attributes:
    task: The task.
    source: Row of the cache that holds its beginning.
    target: Row of the cache that it gets.
    shared: Text tokens that the source holds of it; 0 if nothing is reused.
    listens: Whether its clip has to be heard.
  """

  task: Task
  source: int
  target: int
  shared: int
  listens: bool

  def start(self, cfg: LtuConfig) -> int:
    """Slots of the source that are reused, audio included."""
    audio = self.task.audio is not None and self.shared > 0
    return self.shared + (cfg.num_audio_tokens if audio else 0)


def new_rows(places: Sequence[Place], cfg: LtuConfig, num_rows: int) -> New:
  """Pads places to a batch.

  Args:
    places: At least one.
    cfg: The model's sizes.
    num_rows: Rows of the cache; a row that only fills the batch goes there.

  Returns:
    numpy arrays of R rows, rounded up as `padding.row_bucket` says.
  """
  rows = padding.row_bucket(len(places))
  rest = [place.task.request.prompt[place.shared :] for place in places]
  tokens = np.zeros((rows, padding.bucket(max(map(len, rest)))), np.int32)
  seen = np.zeros((rows, cfg.llama.vocab), bool)
  for row, place in enumerate(places):
    tokens[row, : len(rest[row])] = rest[row]
    seen[row, list(place.task.request.prompt)] = True
  tasks = [place.task for place in places]
  configs = [task.request.config for task in tasks]

  def column(values, dtype, filler=0):
    return np.array([*values, *[filler] * (rows - len(places))], dtype)

  return New(
    target=column((p.target for p in places), np.int32, num_rows),
    source=column((p.source for p in places), np.int32),
    start=column((p.start(cfg) for p in places), np.int32),
    tokens=tokens,
    length=column(map(len, rest), np.int32, 1),
    seen=seen,
    choice=Choice(
      temperature=column((c.temperature for c in configs), np.float32),
      top_k=column((c.top_k for c in configs), np.int32),
      top_p=column((c.top_p for c in configs), np.float32, 1),
      penalty=column((c.repetition_penalty for c in configs), np.float32, 1),
      limit=column((task.limit for task in tasks), np.int32, 1),
      key=None,
    ),
    seed=column((t.request.seed for t in tasks), np.uint32),
    sample=column((t.request.sample for t in tasks), np.int32),
  )
