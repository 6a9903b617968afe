"""How many tokens each question of a data set has, found out once a run.

From the texts beside the records (question_texts.py), in as many threads as
there are cores; or from the records of a data set that was built before there
were such files, which reads all of its audio. The run's folder keeps the
numbers: what starts again does not count again.

Letters: Q questions.
"""

import hashlib
import io
import itertools
import pathlib
import time
import zipfile
from collections.abc import Iterator

import numpy as np

from ltu_jax.data import prompts, question_texts
from ltu_jax.data.question_index import MAX_QUESTIONS, QuestionIndex
from ltu_jax.data.question_source import QuestionSource, RecordError
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.progress import Progress

FILE = "text_lengths.npz"
"""Where a run's folder keeps them."""

MOST = np.iinfo(np.uint16).max
"""Longer texts count as so long, and those that cannot be read: such a question
gets the most room that `max_tokens` lets any have, whatever it holds."""

_AT_ONCE = 1 << 14
"""Texts that are counted together: some 4 MB."""


class LengthsError(ValueError):
  """Lengths that cannot be had; says why and what to do."""


class TextLengths:
  """The lengths of all questions of a split.

  Attributes:
    index: The questions.
    lengths: uint16 [Q], tokens of each, begin and end id counted; see MOST.
  """

  def __init__(self, index: QuestionIndex, lengths: np.ndarray):
    """Joins the two."""
    self.index, self.lengths = index, lengths
    self._keys = _keys(index)

  def of(self, part: QuestionIndex) -> np.ndarray:
    """uint16, the length of each question of a selection."""
    return self.lengths[np.searchsorted(self._keys, _keys(part))]


def load_or_measure(
  source: QuestionSource,
  tokenizer: Tokenizer,
  tokenizer_hash: str,
  folder: pathlib.Path,
  *,
  writes: bool = True,
) -> TextLengths:
  """Returns the lengths that a folder keeps, or counts and keeps them.

  Args:
    source: All questions of a split.
    tokenizer: Text to ids.
    tokenizer_hash: Which tokenizer it is.
    folder: The run's.
    writes: Whether this process counts; others find what it wrote.

  Raises:
    LengthsError: This process does not count, and nothing is there.
    TextsError: The texts are damaged or of other records.
  """
  key, file = _key(source, tokenizer_hash), folder / FILE
  lengths = _load(file, key, source.num_rows)
  if lengths is None and not writes:
    raise LengthsError(
      f"{file}, which process 0 wrote, is not to be seen by this process;"
      " --workdir must be on a disk that all processes share"
    )
  if lengths is None:
    lengths = measure(source, tokenizer)
    content = io.BytesIO()
    np.savez(content, key=np.array(key), lengths=lengths)
    fresh = file.with_suffix(".tmp")
    fresh.write_bytes(content.getvalue())
    fresh.replace(file)
  return TextLengths(source.index, lengths)


def measure(source: QuestionSource, tokenizer: Tokenizer) -> np.ndarray:
  """Counts the tokens of all questions: uint16 [Q]; see MOST.

  Raises:
    TextsError: The texts are damaged or of other records.
  """
  start, total = time.monotonic(), source.num_rows
  if source.texts is None:
    print(
      f"data: reads all {len(source.clips)} records, sound included, once, to"
      f" know how long the {total} texts are: this data set was built before"
      " texts had a file of their own; built again, it takes a fraction",
      flush=True,
    )
  tell = lambda line: print(line, flush=True)
  progress = Progress("data: counting tokens", total, 0, tell)
  parts = []
  texts = _texts(source)
  while some := list(itertools.islice(texts, _AT_ONCE)):
    # What cannot be read is as long as any may be.
    counts = iter(tokenizer.count([x for x in some if x is not None]))
    part = [MOST if x is None else min(next(counts), MOST) for x in some]
    parts.append(np.array(part, np.uint16))
    progress.advance(items=len(some))
  lengths = np.concatenate(parts)
  seconds = time.monotonic() - start
  print(
    f"data: counted the tokens of {total} questions in {seconds:.0f} s, on the"
    f" average {lengths[lengths < MOST].mean(dtype=np.float64):.1f}",
    flush=True,
  )
  return lengths


def _texts(source: QuestionSource) -> Iterator[str | None]:
  """Yields the full text of each question; None for what cannot be read."""
  index = source.index
  clips, firsts = np.unique(index.clip, return_index=True)
  ends = [*firsts[1:], len(index.clip)]
  stored = enumerate(
    question_texts.read(source.texts) if source.texts is not None else ()
  )
  for clip, first, end in zip(clips, firsts, ends, strict=True):
    if source.texts is None:
      texts = _of_record(source, int(clip))
    else:
      texts = next((x for number, x in stored if number == clip), ())
    for place in index.question[first:end]:
      if texts is None:
        yield None
      elif place >= len(texts):
        raise question_texts.TextsError(
          f"{source.texts or 'the records'}: has {len(texts)} questions about"
          f" clip {clip} and the index names question {place}: it belongs to"
          " other records; build the data set again"
        )
      else:
        yield prompts.build_full_text(*texts[place])


def _of_record(
  source: QuestionSource, clip: int
) -> question_texts.Texts | None:
  """The texts of a record; None if it cannot be read."""
  try:
    return source.texts_of(clip)
  except RecordError:  # training tells of it
    return None


def _key(source: QuestionSource, tokenizer_hash: str) -> str:
  """What the lengths depend on."""
  template = prompts.build_full_text("\0", "\1", "\2")
  template += prompts.build_full_text("\0", "", "\2")
  size = 0 if source.texts is None else source.texts.stat().length
  parts = (
    source.version,
    source.index.digest(),
    f"{size}",
    tokenizer_hash,
    template,
  )
  return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _keys(index: QuestionIndex) -> np.ndarray:
  """int64 [Q], one number for each question, increasing."""
  return index.clip.astype(np.int64) * MAX_QUESTIONS + index.question


def _load(file: pathlib.Path, key: str, count: int) -> np.ndarray | None:
  """What a folder keeps, if it is of the same data, tokenizer and template.

  A damaged file is as good as none: it is written anew.
  """
  if not file.exists():
    return None
  try:
    with np.load(file) as arrays:
      found, lengths = str(arrays["key"]), arrays["lengths"]
  except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
    print(f"data: {file} is damaged and made anew", flush=True)
    return None
  is_ours = found == key and lengths.shape == (count,)
  return lengths if is_ours else None


def tokens(lengths: np.ndarray, max_tokens: int) -> np.ndarray:
  """int32 [Q], tokens in a row of questions of some lengths: cut, if long."""
  return np.minimum(lengths, max_tokens).astype(np.int32)
