"""Finds what is wrong with a config for its data, before anything is compiled.

What can be known without the data is in config_check.py.
"""

import collections
from collections.abc import Sequence

import ml_collections
import numpy as np
from jax.sharding import Mesh

from ltu_jax import base
from ltu_jax import config as config_lib
from ltu_jax.config import ConfigError
from ltu_jax.curriculum import Stage
from ltu_jax.data.prompts import build_full_text, build_prompt
from ltu_jax.data.question_source import QuestionSource, RecordError
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.sharding import spec_of
from ltu_jax.supply import Supply

_SAMPLE = 32
"""Questions of a stage that are read."""


def check_with_data(
  config: ml_collections.ConfigDict,
  stages: Sequence[Stage],
  data: Supply,
  tokenizer: Tokenizer | None,
  mesh: Mesh | None = None,
) -> None:
  """Checks the stages against their questions, and the tokenizer.

  Args:
    config: the run's config, which `config_check.check` has passed.
    stages: its stages.
    data: its data.
    tokenizer: None leaves out what takes one.
    mesh: the run's; None leaves out whether it can divide the vocabulary.

  Raises:
    ConfigError: a line for each problem; each names its field.
  """
  lines, cut = [], collections.defaultdict(list)
  for stage in stages:
    where = _where(config, stage)
    try:
      questions = data.questions(stage)
    except ConfigError as error:
      lines += str(error).splitlines()
      continue
    found = stage.problems(*data.size(stage))
    lines += [f"{where}.{name}{words}" for name, words in found]
    if tokenizer is None or questions is None:
      continue
    max_tokens = config_lib.max_tokens(config, stage)
    if needed := _tokens_needed(questions, tokenizer, max_tokens):
      field = where if stage.max_tokens else "config.data"
      cut[f"{field}.max_tokens is {max_tokens}"].append((stage.number, needed))
  for field, found in cut.items():
    numbers = ", ".join(str(number) for number, _ in found)
    lines.append(
      f"{field}: texts of stage {numbers} are cut before the answer begins; "
      f"{max(needed for _, needed in found)} would fit the longest of those "
      "looked at"
    )
  if tokenizer is not None:
    lines += _vocabulary_problems(config, tokenizer.vocab_size, mesh)
  if lines:
    raise ConfigError("\n".join(sorted(lines)))


def _where(config: ml_collections.ConfigDict, stage: Stage) -> str:
  """What the config calls a stage."""
  names = {values["number"]: name for name, values in config.stages.items()}
  return f"config.stages.{names[stage.number]}"


def _vocabulary_problems(
  config: ml_collections.ConfigDict, size: int, mesh: Mesh | None
) -> list[str]:
  """Whether the decoder can have the tokenizer's ids."""
  if config.base and "llama" in base.info(config.base).parts:
    most = config.model.llama.vocab
    if size <= most:
      return []
    return [
      f"config.tokenizer.model: the tokenizer has {size} ids, the decoder of "
      f"{config.base} only {most}; set it to the decoder's own tokenizer"
    ]
  axis = spec_of(("vocab",))[0]
  parts = 1 if mesh is None else mesh.shape[axis]
  if size % parts == 0:
    return []
  return [
    f"config.tokenizer.vocab_size: the tokenizer's {size} ids do not divide "
    f"into the {parts} parts of config.mesh.{axis}; set another number, or "
    "another mesh"
  ]


def _tokens_needed(
  questions: QuestionSource, tokenizer: Tokenizer, max_tokens: int
) -> int:
  """Tokens of the longest text looked at; 0 if an answer is left of one."""
  count = lambda text, eos: len(tokenizer.encode(text, bos=True, eos=eos))
  # With no question that can be read: a token of one and of its answer.
  prompts = [count(build_prompt(""), False)]
  texts = [prompts[0] + 2]
  for question in _sample(questions):
    words = question.instruction, question.input
    prompts.append(count(build_prompt(*words), False))
    texts.append(count(build_full_text(*words, question.output), True))
  shortest = min(prompts[1:], default=0)
  if max(prompts[0], shortest) < max_tokens:
    return 0
  return max(texts)


def _sample(questions: QuestionSource) -> list:
  """Some questions, spread evenly; those that cannot be read are left out."""
  last = questions.num_rows - 1
  found = []
  for row in np.unique(np.linspace(0, last, _SAMPLE).astype(int)):
    try:
      found.append(questions[int(row)])
    except RecordError:  # training skips and counts them
      continue
  return found
