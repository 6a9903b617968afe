"""The training input: batches of clips and questions, by grain.

A row is one clip and one question about it, or as many as a plan (packing.py)
puts there. The order depends on the seed alone, not on the number of hosts or
threads: rows are shuffled globally, anew for each epoch, and a host takes those
rows of each batch that its devices hold. Where a run stands is one number. A
row whose clip cannot be read becomes padding in its place, so this stays so.

Letters: B rows of a host's batch, T tokens of a row, N samples of a clip.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import grain
import numpy as np

from ltu_jax.audio.decode import (
  CLIP_SAMPLES,
  MIN_SAMPLES,
  SAMPLE_RATE,
  AudioError,
  decode,
)
from ltu_jax.data import packing, share
from ltu_jax.data.buckets import PADDING, Buckets, Shape
from ltu_jax.data.question_source import (
  Question,
  QuestionSource,
  RecordError,
)
from ltu_jax.data.tokenizer import MAX_TOKENS, Tokenizer, tokenize_example

AUDIO_TOKENS = 32
"""Positions that the published model's audio takes up before the text."""


class RowError(ValueError):
  """Questions that do not fit into their row; says what to do."""


def load_pcm(question: Question) -> tuple[np.ndarray, int]:
  """Decodes the clip of a question.

  Returns:
    pcm: int16 [164080], the start of the clip, or the clip and zeros.
    num_samples: How many of them are the clip's.

  Raises:
    AudioError: If the clip cannot be decoded or is shorter than one frame;
      names the clip.
  """
  name = _name(question)
  seconds = CLIP_SAMPLES / SAMPLE_RATE
  samples = decode(question.audio, name, max_seconds=seconds)
  if len(samples) < MIN_SAMPLES:
    raise AudioError(
      f"{name}: has {len(samples)} samples, fewer than one frame of"
      f" {MIN_SAMPLES}; take it out of the data set"
    )
  pcm = np.zeros(CLIP_SAMPLES, np.int16)
  pcm[: len(samples)] = samples
  return pcm, len(samples)


def make_row(
  questions: Sequence[Question],
  tokenizer: Tokenizer,
  *,
  max_tokens: int = MAX_TOKENS,
  row_tokens: int = 0,
  train_on_inputs: bool = True,
  with_audio: bool = True,
  audio_tokens: int = AUDIO_TOKENS,
) -> dict[str, np.ndarray]:
  """Returns one row of the batch: one clip and questions about it, in a row.

  Each question is what it would be alone: its positions begin anew, and its
  first token is no target, so that nothing is predicted from the one before.

  Args:
    questions: Questions about one clip, the first with its bytes.
    tokenizer: Text to ids.
    max_tokens: Of a question; a longer text is cut.
    row_tokens: T; 0 for `max_tokens`.
    train_on_inputs: Whether the prompt is a target too.
    with_audio: Otherwise a text-only row: zeros, of which none is valid.
    audio_tokens: Positions that the model's audio takes up before the text.

  Returns:
    pcm int16 [N], num_samples int32 [], and of shape [T], padded on the right:
    tokens int32, positions int32 (32, 33, ...; 0 in the padding), segment_ids
    int32 (1, 2, ... for the questions, 0 for padding), loss_weights float32.

  Raises:
    AudioError: If the clip cannot be used; names it.
    RowError: If the questions have more than T tokens; names the clip.
  """
  pcm, num_samples = np.zeros(CLIP_SAMPLES, np.int16), 0
  if with_audio:
    pcm, num_samples = load_pcm(questions[0])
  row = padding_row(tokenizer, max_tokens=row_tokens or max_tokens)
  row |= {"pcm": pcm, "num_samples": np.int32(num_samples)}
  begin, room = 0, len(row["tokens"])
  for number, question in enumerate(questions, 1):
    tokens, loss_weights = tokenize_example(
      tokenizer,
      question.instruction,
      question.input,
      question.output,
      max_tokens=max_tokens,
      train_on_inputs=train_on_inputs,
    )
    n = len(tokens)
    here = slice(begin, begin + n)
    begin += n
    if begin > room:
      raise RowError(
        f"{_name(question)}: its {len(questions)} questions do not fit into a"
        f" row of {room} tokens: WORKDIR/text_lengths.npz, by which rows were"
        " made, is of other texts than the records; remove it, and build the"
        " data set again if that does not help"
      )
    row["tokens"][here] = tokens
    row["positions"][here] = audio_tokens + np.arange(n)
    row["segment_ids"][here] = number
    row["loss_weights"][here] = loss_weights
  return row


def padding_row(
  tokenizer: Tokenizer, *, max_tokens: int = MAX_TOKENS
) -> dict[str, np.ndarray]:
  """Returns a row that no loss or gradient comes from.

  Its form is that of `make_row`; it has no audio, no question (`segment_ids`
  are all 0, which no other row's are) and no target.

  Args:
    tokenizer: Gives the id of padding.
    max_tokens: T.
  """
  return {
    "pcm": np.zeros(CLIP_SAMPLES, np.int16),
    "num_samples": np.int32(0),
    "tokens": np.full(max_tokens, tokenizer.pad_id, np.int32),
    "positions": np.zeros(max_tokens, np.int32),
    "segment_ids": np.zeros(max_tokens, np.int32),
    "loss_weights": np.zeros(max_tokens, np.float32),
  }


@dataclasses.dataclass(frozen=True)
class Unreadable:
  """A row that was skipped, as its clip cannot be read.

  Attributes:
    row: Row number.
    clip: Record number of the clip.
    clip_id: Its name; "" where not even that can be read.
    reason: What is wrong.
  """

  row: int
  clip: int
  clip_id: str
  reason: str


@dataclasses.dataclass(frozen=True)
class Batches:
  """An endless, shuffled, resumable stream of batches.

  Attributes:
    source: The questions.
    tokenizer: Text to ids.
    batch_size: Rows of a batch over all hosts.
    seed: Decides the order, and which rows lose their audio.
    plan: Which questions are in which row; None for one question a row.
    buckets: Which rows are in which batch, and its shape; None for batches of
      one shape, rows in random order.
    max_tokens: Of a question.
    row_tokens: T; 0 for `max_tokens`.
    train_on_inputs: Whether the prompt is a target too, as published.
    text_only: No row has audio, and no clip is decoded: for pretraining a
      language model on the text.
    drop_audio: Probability that a row is made text-only.
    audio_tokens: Positions that the model's audio takes up before the text.
    num_threads: Threads that each make a batch ahead; 0 makes them when asked.
      Decoding a clip lets other threads run. Each holds a batch (B * 328 kB),
      and as many wait.
    unreadable: What could not be read so far, by row number; the threads write
      it, each row once and always the same.
  """

  source: QuestionSource
  tokenizer: Tokenizer
  _: dataclasses.KW_ONLY
  batch_size: int
  seed: int
  plan: packing.Plan | None = None
  buckets: Buckets | None = None
  max_tokens: int = MAX_TOKENS
  row_tokens: int = 0
  train_on_inputs: bool = True
  text_only: bool = False
  drop_audio: float = 0.0
  audio_tokens: int = AUDIO_TOKENS
  num_threads: int = 4
  unreadable: dict[int, Unreadable] = dataclasses.field(
    default_factory=dict, init=False, compare=False
  )

  def __post_init__(self):
    """Checks what would otherwise fail far from its cause."""
    if not self.source.num_rows:
      raise ValueError("there are no questions to make batches of")
    if self.batch_size < 1:
      raise ValueError(f"batch_size must be positive, not {self.batch_size}")
    if not 0 <= self.drop_audio <= 1:
      raise ValueError(f"drop_audio must be in 0..1, not {self.drop_audio}")

  def shape(self, step: int) -> Shape:
    """Returns rows, over all hosts, and tokens of batch `step` (from 0)."""
    if self.buckets is not None:
      return self.buckets[step][1]
    return Shape(self.batch_size, self.row_tokens or self.max_tokens)

  def num_padding(self, step: int) -> int:
    """Returns how many places of batch `step` have no row."""
    return 0 if self.buckets is None else self.rows(step).count(PADDING)

  def dataset(self, places: share.Places = None) -> grain.IterDataset:
    """Returns one host's share of the stream.

    `iter(...)` of it gives an iterator with `get_state` and `set_state`; the
    state is the same for any share.

    Args:
      places: Which rows of each batch the host takes, from 0; None for all. By
        the rows of the batch, where there are several shapes.

    Returns:
      Batches of B = len(places) rows, the keys of `make_row` with a first axis
      B. A row that cannot be read is a `padding_row`; `skipped` tells which
      they are.

    Raises:
      ValueError: If there are no places, or some are not of the batch.
    """
    if self.buckets is not None:
      load = lambda step: self._load_batch(step, places)
      return share.ahead(share.endless().map(load), self.num_threads)
    # The random choice comes before the host's share: it is then of the row's
    # place in the one order, and the same for any number of hosts.
    rows = self._order.random_map(self._load)
    return share.dataset(rows, places, self.batch_size, self.num_threads)

  def rows(self, step: int) -> list[int]:
    """Returns the numbers of the rows in batch `step` (from 0) of all hosts.

    They are in the order of the stream: a host has those of its places in this
    list. Without a plan the number is that of the question in `source`.
    `buckets.PADDING` is no row.
    """
    if self.buckets is not None:
      return self.buckets[step][0].tolist()
    first = step * self.batch_size
    return [self._order[i] for i in range(first, first + self.batch_size)]

  def describe(self, row: int) -> dict[str, Any]:
    """Returns what a row of `rows` is, in words.

    Without a plan, see QuestionSource; else `row`, `clip`, `clip_id` and
    `questions`, a list of the other fields.
    """
    if row == PADDING:
      return {"row": row}
    if self.plan is None:
      return self.source.describe(row)
    questions = [dataclasses.asdict(q) for q in self._questions(row)]
    clip = {key: questions[0][key] for key in ("clip", "clip_id")}
    for question in questions:
      for key in ("clip", "clip_id", "audio"):
        del question[key]
    return {"row": row, **clip, "questions": questions}

  def skipped(
    self,
    step: int,
    batch: Mapping[str, np.ndarray],
    places: share.Places = None,
  ) -> list[Unreadable]:
    """Returns what could not be read of a host's batch `step` (from 0).

    Args:
      step: Which batch of the stream it is.
      batch: A batch that an iterator of this object gave.
      places: Those that it was made for.
    """
    padding = np.flatnonzero(~np.any(batch["segment_ids"], axis=-1))
    if not padding.size:  # nearly always
      return []
    rows = self.rows(step)
    places = share.checked(places, len(rows))
    empty = [rows[places[i]] for i in padding]
    return [self.unreadable[row] for row in empty if row != PADDING]

  @functools.cached_property
  def _order(self) -> grain.MapDataset[int]:
    """The row numbers in the order of training, without end.

    Made once: to shuffle a million packed rows takes half a second.
    """
    if self.plan is not None:
      order = packing.Order(self.plan.clips, self.seed)
      return grain.MapDataset.source(order).seed(self.seed)
    rows = grain.MapDataset.range(self.source.num_rows)
    return rows.seed(self.seed).shuffle().repeat()

  def _questions(self, row: int) -> list[Question]:
    """Reads the questions of a row.

    Raises:
      RecordError: If the clip's record cannot be read.
    """
    return self.source.several([row] if self.plan is None else self.plan[row])

  def _load_batch(
    self, step: int, places: share.Places
  ) -> dict[str, np.ndarray]:
    """Makes a host's rows of a batch of a bucket."""
    rows, shape = self.buckets[step]
    made = []
    for place in share.checked(places, shape.rows):
      rng = np.random.default_rng((self.seed, step, place))
      made.append(self._load(int(rows[place]), rng, shape.tokens))
    return {key: np.stack([row[key] for row in made]) for key in made[0]}

  def _load(
    self, row: int, rng: np.random.Generator, tokens: int = 0
  ) -> dict[str, np.ndarray]:
    """Makes the row of a row number; `rng` belongs to its place."""
    tokens = tokens or self.row_tokens or self.max_tokens
    if row == PADDING:
      return padding_row(self.tokenizer, max_tokens=tokens)
    is_dropped = self.drop_audio > 0 and rng.random() < self.drop_audio
    try:
      questions = self._questions(row)
    except RecordError as error:
      self._note(row, error.clip, error.clip_id, error.reason)
      return padding_row(self.tokenizer, max_tokens=tokens)
    try:
      return make_row(
        questions,
        self.tokenizer,
        max_tokens=self.max_tokens,
        row_tokens=tokens,
        train_on_inputs=self.train_on_inputs,
        with_audio=not (self.text_only or is_dropped),
        audio_tokens=self.audio_tokens,
      )
    except AudioError as error:
      # The error names the clip in its own words.
      question = questions[0]
      reason = str(error).removeprefix(f"{_name(question)}: ")
      self._note(row, question.clip, question.clip_id, reason)
      return padding_row(self.tokenizer, max_tokens=tokens)

  def _note(self, row: int, clip: int, clip_id: str, reason: str) -> None:
    """Notes what cannot be read."""
    self.unreadable[row] = Unreadable(row, clip, clip_id, reason)


def _name(question: Question) -> str:
  """What errors call a question's clip."""
  return f"clip {question.clip_id!r}"
