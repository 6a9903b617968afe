"""Writing a bundle; ltu_jax/bundle.py loads it."""

import collections
import dataclasses
import math
import os
from collections.abc import Mapping
from typing import Any

from ltu_jax import version
from ltu_jax.convert.from_torch import entries, problems
from ltu_jax.convert.model_card import model_card
from ltu_jax.convert.names import PREFIX, part_of_name
from ltu_jax.convert.tensors import ConversionError, Tensor, problem_table
from ltu_jax.convert.writers import fresh_folder, write_json, write_shards
from ltu_jax.curriculum import Stage
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.models.ltu import PART_TYPES, LtuConfig

FORMAT = "ltu_jax bundle"
VERSION = 1
"""What config.json says; a later version may not be read by earlier code."""


def write_bundle(
  folder: str | os.PathLike,
  tensors: Mapping[str, Tensor],
  cfg: LtuConfig,
  tokenizer: Tokenizer | None,
  stage: Stage | None,
  training: Mapping[str, Any],
) -> list[str]:
  """Writes a bundle, with one tensor in memory at a time.

  Args:
    folder: The folder to make.
    tensors: Canonical name (convert/names.py) -> tensor, all of the model.
    cfg: The model.
    tokenizer: Its tokenizer.
    stage: The last stage that trained it; None if none did.
    training: JSON values that say how it was made. The model card makes use
      of these, where they are there: `origin` (lines: where the base weights
      came from), `config` (of the run), `steps` (stage number -> finished
      steps) and `losses` (a list of `StageCurve.as_json`).

  Returns:
    Lines for the user.

  Raises:
    ConversionError: The folder exists, there is no tokenizer or one with more
      ids than the decoder, or tensors that are not the model's; lists all.
  """
  if tokenizer is None:
    raise ConversionError("a bundle needs a tokenizer, and there is none.")
  if tokenizer.vocab_size > cfg.llama.vocab:
    raise ConversionError(
      f"the tokenizer has {tokenizer.vocab_size} ids and the decoder only "
      f"{cfg.llama.vocab}: it is another model's."
    )
  if rows := bundle_problems(cfg, tensors):
    raise ConversionError("cannot export:\n" + problem_table(rows))
  parameters = collections.Counter()
  for name, tensor in tensors.items():
    parameters[part_of_name(name)] += math.prod(tensor.shape)
  parameters = {p: parameters[p] for p in PART_TYPES if p in parameters}
  config = {
    "format": FORMAT,
    "version": VERSION,
    "made_by": version.TEXT,
    "model": dataclasses.asdict(cfg),
    "stage": None if stage is None else dataclasses.asdict(stage),
    "training": dict(training),
  }
  with fresh_folder(folder) as work:
    write_json(work / "config.json", config)
    card = model_card(cfg, parameters, stage, training)
    (work / "README.md").write_text(card, encoding="utf-8")
    tokenizer.save(work)
    write_shards(work, {PREFIX + n: t for n, t in tensors.items()})
  return ["fill in the licence in its README.md before you publish it"]


def parts_of(cfg: LtuConfig) -> list[str]:
  """The parts that a model has."""
  return [part for part in PART_TYPES if part != "lora" or cfg.lora.rank]


def bundle_problems(
  cfg: LtuConfig, tensors: Mapping[str, Tensor]
) -> list[tuple[str, str, str]]:
  """Missing, mis-shaped, unexpected tensors, and those of another dtype."""
  rows = problems(cfg, parts_of(cfg), tensors)
  for entry in entries(cfg, parts_of(cfg)):
    given = tensors.get(entry.name)
    if given is not None and given.dtype != entry.dtype:
      detail = f"{given.dtype} in {given.origin}, the model has {entry.dtype}"
      rows.append(("wrong dtype", entry.name, detail))
  return rows
