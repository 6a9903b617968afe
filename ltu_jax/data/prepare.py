"""Gets the data of a run ready: builds what is missing, opens the splits.

Building goes through the TFDS builder; neither it nor reading needs TensorFlow
or JAX.
"""

import contextlib
import fcntl
import math
import os
import pathlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

import tfds_builders
from ltu_jax.audio.decode import AudioError
from ltu_jax.data import bucket, prompts
from ltu_jax.data.question_source import (
  PrepareError,
  QuestionSource,
  RecordError,
)
from ltu_jax.data.tokenizer import SentencePieceTokenizer, train_sentencepiece
from tfds_builders.openaqa.fetch import FetchError
from tfds_builders.openaqa.sounds import SoundsError

_OWN = tfds_builders.openaqa_dataset_builder.Builder
"""The builder that takes `sounds_dir`; importing it registers it with TFDS."""

_MINI_OPTIONS = ("sounds_dir", "num_train", "num_test")
"""Fields of `config.data` that are arguments of the builder, where set."""

_TOKENIZER_QUESTIONS = 200_000
"""Questions that a tokenizer is trained on at most; all clips of more would be
read, sound included, for texts that repeat each other."""

# What TFDS puts before the message of an error in a builder's constructor.
_TFDS_PREFIX = re.compile(r'^Failed to construct dataset .*?\}": ', re.DOTALL)


def open_splits(
  data: Mapping[str, Any],
) -> tuple[QuestionSource, QuestionSource | None]:
  """Opens the train and test split, and builds openaqa/mini where needed.

  Of several processes that start at once, one builds and the others wait.
  Only openaqa/mini is built, and never into a bucket: others take days of
  downloads and disks that whoever trains has to choose.

  Args:
    data: `config.data`: `name` (such as `openaqa/mini`), `dir` (TFDS's folder,
      which may be `gs://BUCKET/FOLDER`; "" for its default), `prepare` (whether
      to build what is missing), and for openaqa/mini `sounds_dir` ("" or the
      folder of the sounds to build from), `num_train`, `num_test` (scenes to
      compose; 0 for its default).

  Returns:
    The questions of `train`, and of `test` or None where the data set has no
    such split, as openaqa/full has none.

  Raises:
    PrepareError: There is no such data set, it is not built and must not or
      cannot be, it was built from something else, or it cannot be read.
  """
  folder = _data_dir(data)
  builder = _builder(data)
  if data["prepare"] and _is_built_here(builder) and not builder.is_prepared():
    with _lock(pathlib.Path(folder), data["name"]):
      # Another process may have built it while this one waited.
      builder = _builder(data)
      if not builder.is_prepared():
        _build(builder, data["name"])
  try:
    train = QuestionSource.open(data["name"], "train", folder)
    test = None
    if "test" in builder.info.splits:
      test = QuestionSource.open(data["name"], "test", folder)
  except (FileNotFoundError, ValueError) as error:
    raise PrepareError(str(error)) from error
  except OSError as error:
    raise PrepareError(
      f"{data['name']} in {folder} cannot be read: {error}"
    ) from error
  held_out = "none to test on"
  if test is not None:
    held_out = f"{test.num_rows} about {len(test.clips)} to test on"
  print(
    f"data: {data['name']} in {builder.data_dir}: {train.num_rows} questions"
    f" about {len(train.clips)} clips to learn from, {held_out}; sounds from"
    f" {_origin(builder)}",
    flush=True,
  )
  return train, test


def recordings(data: Mapping[str, Any]) -> dict[str, set[tuple[str, str]]]:
  """Returns which recordings a data set's splits are made of.

  Args:
    data: As for `open_splits`.

  Returns:
    (class, name of the recording) of all, by split; empty if the data set
    does not tell.

  Raises:
    PrepareError: There is no such data set.
  """
  listed = (_builder(data).info.metadata or {}).get("recordings", {})
  return {
    split: {(label, name) for label, names in groups.items() for name in names}
    for split, groups in listed.items()
  }


def train_tokenizer(
  source: QuestionSource, vocab_size: int, path: str | os.PathLike
) -> SentencePieceTokenizer:
  """Trains a tokenizer on the full texts (prompt and answer) of questions.

  Of more than 200,000 questions, those of a sample of the clips are taken,
  spread evenly over all and always the same.

  Args:
    source: The questions; each clip's record is read once.
    vocab_size: Number of pieces.
    path: The `.model` file; it is there only when it is whole.

  Returns:
    The tokenizer.

  Raises:
    PrepareError: The texts do not give so many pieces, or need more.
  """
  path = pathlib.Path(path)
  fresh = path.with_suffix(".tmp")
  try:
    tokenizer = train_sentencepiece(_texts(source), vocab_size, fresh)
  except ValueError as error:
    raise PrepareError(f"config.tokenizer.vocab_size: {error}") from error
  fresh.replace(path)
  return tokenizer


def _texts(source: QuestionSource) -> Iterator[str]:
  """Yields the full text of each question, clip by clip."""
  index = source.index
  order = np.argsort(index.clip, kind="stable")
  clips, starts = np.unique(index.clip[order], return_index=True)
  rows_of_clips = np.split(order, starts[1:])
  taken = range(len(clips))
  if source.num_rows > _TOKENIZER_QUESTIONS:
    every = math.ceil(source.num_rows / _TOKENIZER_QUESTIONS)
    taken = taken[::every]
    print(
      f"tokenizer: learns from {len(taken)} of the {len(clips)} clips, spread"
      f" evenly over the {source.num_rows} questions",
      flush=True,
    )
  for number in taken:
    try:
      questions = source.record(int(clips[number]))["questions"]
    except RecordError as error:
      # Training skips it too, and counts; a text less is no matter here.
      print(f"tokenizer: skipped {error}", flush=True)
      continue
    inputs = questions.get("input")
    for place in index.question[rows_of_clips[number]]:
      yield prompts.build_full_text(
        questions["instruction"][place].decode(),
        "" if inputs is None else inputs[place].decode(),
        questions["output"][place].decode(),
      )


def _data_dir(data: Mapping[str, Any]) -> epath.Path:
  """TFDS's folder, on a disk or in a bucket."""
  folder = data["dir"] or tfds.core.constants.DATA_DIR
  try:
    bucket.check_folder(folder)
  except ValueError as error:
    raise PrepareError(f"config.data.dir: {error}") from error
  return epath.Path(folder).expanduser()


def _builder(data: Mapping[str, Any]) -> tfds.core.DatasetBuilder:
  """Makes the builder; a constructor's complaint becomes a PrepareError."""
  name = data["name"]
  kwargs = {key: data[key] for key in _MINI_OPTIONS if data.get(key)}
  if kwargs and name.partition("/")[0] != _OWN.name:
    raise PrepareError(
      f"config.data.{next(iter(kwargs))} is for {_OWN.name}/mini; {name} does"
      " not take it. Leave it empty"
    )
  try:
    return tfds.builder(name, data_dir=_data_dir(data), **kwargs)
  except tfds.core.DatasetNotFoundError as error:
    raise PrepareError(
      f"config.data.name: TFDS knows no data set {name!r}; this project's are"
      f" {_OWN.name}/mini and {_OWN.name}/full"
    ) from error
  except ValueError as error:
    message = _TFDS_PREFIX.sub("", str(error))
    raise PrepareError(f"config.data: {name}: {message}") from error


def _is_built_here(builder: tfds.core.DatasetBuilder) -> bool:
  """Whether the trainer builds a data set that is not there."""
  is_mini = isinstance(builder, _OWN) and builder.builder_config.name == "mini"
  return is_mini and not bucket.is_bucket(builder.data_dir)


def _build(builder: tfds.core.DatasetBuilder, name: str) -> None:
  """Builds, and says how long it took."""
  print(f"data: building {name} in {builder.data_dir} ...", flush=True)
  start = time.monotonic()
  try:
    builder.download_and_prepare()
  except (FetchError, SoundsError, AudioError) as error:
    raise PrepareError(f"{name} cannot be built: {error}") from error
  print(f"data: built in {time.monotonic() - start:.0f} s", flush=True)


def _origin(builder: tfds.core.DatasetBuilder) -> str:
  """Where the sounds are from, as the data set tells."""
  sources = (builder.info.metadata or {}).get("sources", [])
  return ", ".join(source["name"] for source in sources) or "unknown sources"


@contextlib.contextmanager
def _lock(folder: pathlib.Path, name: str) -> Iterator[None]:
  """Holds the lock on building a data set; waits while another holds it.

  The system frees the lock of a process that dies. The file stays: to remove
  it would let two processes lock two files of one name.

  Raises:
    PrepareError: The folder cannot be written.
  """
  path = folder / f"{name.replace('/', '-')}.lock"
  try:
    folder.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
  except OSError as error:
    raise PrepareError(
      f"config.data.dir: cannot write to {folder} ({error.strerror}); set it"
      " to a folder of your own"
    ) from error
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      print(f"data: another process builds {name}; waiting ...", flush=True)
      fcntl.flock(file, fcntl.LOCK_EX)
    yield
