"""What a run trains on, behind one interface: questions, or made-up batches."""

import pathlib
import tempfile
from typing import Protocol

import ml_collections

from ltu_jax import bucket_scratch
from ltu_jax import config as config_lib
from ltu_jax.curriculum import Stage
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

  def num_questions(self, stage: Stage) -> int:
    """Questions of a stage, from which its steps follow."""
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

  def identity(self) -> str:
    """See `Supply`."""
    return f"{self._train_set.version} {self._train_set.index.digest()}"

  def num_questions(self, stage: Stage) -> int:
    """See `Supply`."""
    return self.questions(stage).num_rows

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
    data = self._config.data
    return Batches(
      self.questions(stage),
      tokenizer,
      batch_size=data.batch_size,
      seed=self._config.seed + stage.number,
      max_tokens=stage.max_tokens or data.max_tokens,
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

  def num_questions(self, stage: Stage) -> int:
    """None: a stage has to say its steps."""
    del stage
    return 0

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
    return SyntheticBatches(
      data.batch_size,
      self._config.seed + stage.number,
      config_lib.model_config(self._config).llama.vocab,
      max_tokens=stage.max_tokens or data.max_tokens,
      text_only=not stage.audio,
      audio_tokens=audio_tokens,
      num_threads=data.num_threads,
    )


SOURCES = {"tfds": OpenAqa, "synthetic": Synthetic}
"""Values of `config.data.source`."""
