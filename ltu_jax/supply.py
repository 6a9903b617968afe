"""What a run trains on, behind one interface: questions, or made-up batches."""

import functools
import pathlib
import tempfile
from typing import Protocol

import jax
import ml_collections

from ltu_jax import bucket_scratch, resume
from ltu_jax import config as config_lib
from ltu_jax.curriculum import Stage
from ltu_jax.data import buckets, layout, text_lengths
from ltu_jax.data.openaqa import Batches
from ltu_jax.data.question_source import QuestionSource
from ltu_jax.data.synthetic import SyntheticBatches
from ltu_jax.data.tokenizer import (
  SentencePieceTokenizer,
  Tokenizer,
  load_tokenizer,
)
from ltu_jax.workdir import Workdir


class Supply(Protocol):
  """The data of a run.

  Attributes:
    test_set: Held-out questions; None where there are none.
  """

  test_set: QuestionSource | None

  def identity(self) -> str:
    """Which data it is; other data has another."""
    ...

  def measure(self, folder: Workdir, tokenizer: Tokenizer | None) -> None:
    """Finds out how long texts are, where rows are made by that.

    To be called by all processes `in_turn`, the first of which counts.
    """
    ...

  def size(self, stage: Stage) -> tuple[int, int]:
    """What the steps of a stage follow from; see `Stage.num_steps`.

    Before `measure`, that of rows of one question: never too small.
    """
    ...

  def about(self, stage: Stage, steps: int) -> str:
    """What there is to say of a stage's rows; "" for nothing."""
    ...

  def questions(self, stage: Stage) -> QuestionSource | None:
    """The questions of a stage; None where there are none to read.

    Raises:
      ConfigError: The stage asks for what is not there; names its fields.
    """
    ...

  def tokenizer(self, folder: Workdir) -> Tokenizer | None:
    """The run's tokenizer, made where needed; None where nothing is text.

    It is not written: it may be of a config that cannot be run.
    """
    ...

  def batches(
    self, stage: Stage, tokenizer: Tokenizer | None, audio_tokens: int
  ) -> Batches | SyntheticBatches:
    """The endless, resumable stream of a stage's batches."""
    ...


def open_supply(config: ml_collections.ConfigDict) -> Supply:
  """Opens the data of a run; `config.data.source` says which.

  Raises:
    ConfigError: There is no such source.
    PrepareError: The data set cannot be opened.
  """
  if config.data.source not in SOURCES:
    raise config_lib.ConfigError(
      f"config.data.source is {config.data.source!r}; there are "
      f"{', '.join(SOURCES)}"
    )
  return SOURCES[config.data.source](config)


def questions(source: QuestionSource, stage: Stage) -> QuestionSource:
  """The questions of a stage; an error names the fields that ask in vain."""
  part, chosen, problems = source, {}, []
  for field in ("tasks", "datasets"):
    asked = {field: getattr(stage, field) or None}
    try:
      part = source.select(**chosen, **asked)
      chosen |= asked
    except ValueError as error:
      problems.append(f"config.stages.stage{stage.number}.{field}: {error}")
  if problems:
    raise config_lib.ConfigError("\n".join(problems))
  return part


class OpenAqa:
  """The questions of a TFDS data set; see `Supply`."""

  def __init__(self, config: ml_collections.ConfigDict):
    """Opens the splits, and builds what may be built."""
    # Here, as the builders need TensorFlow and made-up data must not.
    from ltu_jax.data import prepare

    self._config, self._prepare = config, prepare
    self._train_set, self.test_set = prepare.open_splits(config.data)
    self._lengths: text_lengths.TextLengths | None = None
    # The latest: its arrays take 50 MB for all of OpenAQA.
    self._layout = functools.lru_cache(maxsize=1)(self._make_layout)
    self._sizes: dict[int, tuple[int, int]] = {}

  def identity(self) -> str:
    """See `Supply`."""
    return f"{self._train_set.version} {self._train_set.index.digest()}"

  def measure(self, folder: Workdir, tokenizer: Tokenizer) -> None:
    """See `Supply`."""
    if not buckets.needs_lengths(self._config.data):
      return
    is_first = jax.process_index() == 0
    if not is_first:
      folder.pull()
    self._lengths = text_lengths.load_or_measure(
      self._train_set,
      tokenizer,
      resume.hash_files([*folder.root.glob("tokenizer*")]),
      folder.root,
      writes=is_first,
    )
    if is_first and (problem := folder.push()):
      raise text_lengths.LengthsError(problem)

  def size(self, stage: Stage) -> tuple[int, int]:
    """See `Supply`."""
    data = self._config.data
    if self._lengths is None and buckets.needs_lengths(data):
      count = self.questions(stage).num_rows
      # The last step of an epoch may be filled up.
      return count + data.batch_size - 1, data.batch_size
    if stage.number not in self._sizes:
      self._sizes[stage.number] = self._layout(stage).size
    return self._sizes[stage.number]

  def about(self, stage: Stage, steps: int) -> str:
    """See `Supply`."""
    return self._layout(stage).line(steps)

  def _make_layout(self, stage: Stage) -> layout.Layout:
    """Rows and steps of a stage."""
    return layout.make(
      self.questions(stage).index,
      self._lengths,
      self._config.data,
      config_lib.max_tokens(self._config, stage),
      self._seed(stage),
    )

  def _seed(self, stage: Stage) -> int:
    """Decides the order."""
    return self._config.seed + stage.number

  def questions(self, stage: Stage) -> QuestionSource:
    """See `Supply`."""
    return questions(self._train_set, stage)

  def tokenizer(self, folder: Workdir) -> Tokenizer:
    """The run's own tokenizer, else the config's, the base's, or a new one."""
    config, tokenizer = self._config, load_tokenizer(folder.root)
    if tokenizer is not None:
      return tokenizer
    if config.tokenizer.model:
      tokenizer = SentencePieceTokenizer(config.tokenizer.model)
    elif config.base:
      tokenizer = load_tokenizer(bucket_scratch.fetched(config.base))
    if tokenizer is not None:
      return tokenizer
    print("training a tokenizer on the questions ...", flush=True)
    size = config.tokenizer.vocab_size
    with tempfile.TemporaryDirectory() as fresh:
      path = pathlib.Path(fresh) / "tokenizer.model"
      return self._prepare.train_tokenizer(self._train_set, size, path)

  def batches(
    self, stage: Stage, tokenizer: Tokenizer, audio_tokens: int
  ) -> Batches:
    """See `Supply`."""
    data, made = self._config.data, self._layout(stage)
    return Batches(
      self.questions(stage),
      tokenizer,
      batch_size=data.batch_size,
      seed=self._seed(stage),
      plan=made.plan,
      buckets=made.buckets,
      max_tokens=config_lib.max_tokens(self._config, stage),
      row_tokens=made.row_tokens,
      train_on_inputs=data.train_on_inputs,
      text_only=not stage.audio,
      drop_audio=data.drop_audio,
      audio_tokens=audio_tokens,
      num_threads=data.num_threads,
    )


class Synthetic:
  """Made-up batches; no file is read; see `Supply`."""

  test_set = None

  def __init__(self, config: ml_collections.ConfigDict):
    """Keeps the config."""
    self._config = config
    print("data: made up, nothing is learned from it", flush=True)

  def identity(self) -> str:
    """See `Supply`."""
    return "synthetic"

  def measure(self, folder: Workdir, tokenizer: None) -> None:
    """Does nothing: lengths are made up, too."""
    del folder, tokenizer

  def size(self, stage: Stage) -> tuple[int, int]:
    """No rows: a stage has to say its steps."""
    del stage
    return 0, self._config.data.batch_size

  def about(self, stage: Stage, steps: int) -> str:
    """Nothing."""
    del stage, steps
    return ""

  def questions(self, stage: Stage) -> None:
    """None: there are none to read."""
    del stage

  def tokenizer(self, folder: Workdir) -> None:
    """None: nothing is text."""
    del folder

  def batches(
    self, stage: Stage, tokenizer: None, audio_tokens: int
  ) -> SyntheticBatches:
    """See `Supply`."""
    del tokenizer
    data = self._config.data
    max_tokens = config_lib.max_tokens(self._config, stage)
    return SyntheticBatches(
      data.batch_size,
      self._config.seed + stage.number,
      config_lib.model_config(self._config).llama.vocab,
      max_tokens=max_tokens,
      row_tokens=buckets.shapes_of(data, max_tokens)[-1].tokens,
      questions_per_row=data.questions_per_row,
      text_only=not stage.audio,
      audio_tokens=audio_tokens,
      num_threads=data.num_threads,
    )


SOURCES = {"tfds": OpenAqa, "synthetic": Synthetic}
"""Values of `config.data.source`."""
