"""From a config file's ConfigDict to the frozen dataclasses the code takes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_collections

from ltu_jax.audio.augment import Augment
from ltu_jax.curriculum import Stage
from ltu_jax.models.ltu import PART_TYPES, LtuConfig


class ConfigError(ValueError):
  """A config that cannot be run; the message names every wrong field."""


_RUN_FIELDS = ("remat", "dtype", "base_dtype", "dropout")
"""Fields of config.model that say how a model is run, not what it is."""


def fields(instance: Any) -> dict[str, Any]:
  """A frozen dataclass as a dict, for a ConfigDict.

  Tuples stay: they can be set on the command line, and lists cannot.
  """
  return dataclasses.asdict(instance)


def _make(cls: type, values: Mapping, where: str) -> Any:
  """Makes a frozen dataclass; lists become tuples, unknown names an error."""
  known = [f.name for f in dataclasses.fields(cls)]
  if unknown := set(values) - set(known):
    raise ConfigError(
      f"config.{where}: unknown fields {sorted(unknown)}; there are {known}"
    )
  tuples = {
    k: tuple(v) if isinstance(v, list | tuple) else v for k, v in values.items()
  }
  try:
    return cls(**tuples)
  except (TypeError, ValueError) as error:
    raise ConfigError(f"config.{where}: {error}") from error


def _group(config: Mapping, *names: str) -> dict[str, Any]:
  """A group of fields; the config may come from a damaged file."""
  value: Any = config
  for name in names:
    value = value.get(name) if hasattr(value, "items") else None
  if not hasattr(value, "items"):
    raise ConfigError(f"config.{'.'.join(names)}: there is no such group")
  return dict(value.items())


def model_config(config: Mapping, vocab_size: int | None = None) -> LtuConfig:
  """Makes the model's config from `config.model`.

  Args:
    config: the run's config.
    vocab_size: number of token ids of the tokenizer in use; takes the place of
      `config.model.llama.vocab`.

  Raises:
    ConfigError: unknown fields, or sizes that do not fit together.
  """
  parts = {
    name: _make(cls, _group(config, "model", name), f"model.{name}")
    for name, cls in PART_TYPES.items()
  }
  if vocab_size is not None:
    parts["llama"] = dataclasses.replace(parts["llama"], vocab=vocab_size)
  return LtuConfig(**parts)


def adopt(config: ml_collections.ConfigDict, parts: Mapping) -> list[str]:
  """Takes the sizes of parts whose weights are given.

  Args:
    config: the run's config; `config.model` is changed.
    parts: part name -> its dataclass, as `base.info` gives them.

  Returns:
    What changed: "config.model.llama.dim: 4096 -> 576".
  """
  changed = []
  for name, part in parts.items():
    new = {k: v for k, v in fields(part).items() if k not in _RUN_FIELDS}
    mine = config.model[name]
    old = {k: mine.get(k) for k in new}
    changed += differences(old, new, f"config.model.{name}.")
    config.model[name].update(new)
  return changed


def augment(config: Mapping) -> Augment:
  """Makes the augmentation from `config.augment`.

  Raises:
    ConfigError: unknown fields.
  """
  return _make(Augment, _group(config, "augment"), "augment")


def stages(config: Mapping) -> tuple[Stage, ...]:
  """Makes the stages from `config.stages`, in the order of their numbers.

  Raises:
    ConfigError: no stage, unknown fields, or a number twice.
  """
  found = [
    _make(Stage, _group(config, "stages", name), f"stages.{name}")
    for name in _group(config, "stages")
  ]
  found.sort(key=lambda s: s.number)
  numbers = [s.number for s in found]
  if not found or len(set(numbers)) != len(numbers):
    raise ConfigError(
      f"config.stages: need at least one stage, each with its own number; "
      f"numbers are {numbers}"
    )
  return tuple(found)


def check(config: ml_collections.ConfigDict, num_devices: int) -> None:
  """Finds contradictions before anything is built, all at once.

  Raises:
    ConfigError: one line for each wrong field.
  """
  problems = []
  data = config.data
  if not 0 <= config.seed < 1 << 32:
    problems.append(f"config.seed is {config.seed}; it must be in 0..2^32-1")
  for name in ("batch_size", "micro_batches", "max_tokens", "num_threads"):
    if data[name] < 1:
      problems.append(f"config.data.{name} is {data[name]}; it must be >= 1")
  if not 0 <= data.max_unreadable <= 1:
    problems.append(
      f"config.data.max_unreadable is {data.max_unreadable}; it must be in 0..1"
    )
  rows = data.batch_size // max(1, data.micro_batches)
  if rows * data.micro_batches != data.batch_size:
    problems.append(
      f"config.data.batch_size {data.batch_size} is no multiple of "
      f"config.data.micro_batches {data.micro_batches}"
    )
  tensor = max(1, config.mesh.get("tensor", 1))
  if rows % max(1, num_devices // tensor):
    problems.append(
      f"a micro-batch of {rows} rows cannot be cut over the "
      f"{num_devices // tensor} data-parallel parts of the mesh; change "
      "config.data.batch_size, config.data.micro_batches or config.mesh"
    )
  if config.optimizer.loss_chunk < 0:
    problems.append(
      f"config.optimizer.loss_chunk is {config.optimizer.loss_chunk}; it must "
      "be >= 0"
    )
  for name in ("log_every", "checkpoint_every", "keep_checkpoints"):
    if config[name] < 1:
      problems.append(f"config.{name} is {config[name]}; it must be >= 1")
  if problems:
    raise ConfigError("\n".join(problems))


def differences(old: Mapping, new: Mapping, prefix: str = "config.") -> list:
  """Names what differs between two nested configs: "config.a.b: 1 -> 2"."""
  lines = []
  for key in sorted({*old, *new}):
    # A config that was written as JSON has lists for its tuples.
    a, b = (
      list(value) if isinstance(value, tuple) else value
      for value in (old.get(key), new.get(key))
    )
    if isinstance(a, Mapping) and isinstance(b, Mapping):
      lines += differences(a, b, f"{prefix}{key}.")
    elif a != b:
      lines.append(f"{prefix}{key}: {a!r} -> {b!r}")
  return lines
