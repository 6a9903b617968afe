"""From a config file's ConfigDict to the frozen dataclasses the code takes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_collections

from ltu_jax.audio.augment import Augment
from ltu_jax.curriculum import Stage
from ltu_jax.guard import Guard
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


def guard(config: Mapping) -> Guard:
  """Makes the guard of the updates from `config.guard`.

  Raises:
    ConfigError: unknown fields.
  """
  return _make(Guard, _group(config, "guard"), "guard")


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


def max_tokens(config: Mapping, stage: Stage) -> int:
  """Text tokens of a question in a stage, at most: its own number or data's."""
  return stage.max_tokens or config["data"]["max_tokens"]


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
