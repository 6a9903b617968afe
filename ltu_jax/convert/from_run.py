"""A trained run or a base folder as published tensors, read one at a time."""

import dataclasses
import functools
import math
import os
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from ltu_jax import base, bucket_scratch, losses
from ltu_jax.base_reader import BaseReader
from ltu_jax.checkpoint import CheckpointError, Checkpoints
from ltu_jax.convert.files import open_safetensors
from ltu_jax.convert.from_torch import entries
from ltu_jax.convert.names import part_of_name, published_shape, to_published
from ltu_jax.convert.tensors import ConversionError, Source, Tensor
from ltu_jax.curriculum import Stage
from ltu_jax.data.tokenizer import Tokenizer, load_tokenizer
from ltu_jax.models.ltu import PART_TYPES, LtuConfig, abstract
from ltu_jax.train_state import split_params
from ltu_jax.tree_names import leaves, nested
from ltu_jax.workdir import Workdir, model_config

CARRIED = "carried.safetensors"
"""File of a base folder with what only an export needs."""

# What a stage trained is kept whole up to this size (LTU-7B's is 0.4 GB). A
# larger one is read again for each layer: slow, but within memory.
_KEEP_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class Opened:
  """A model to export.

  Attributes:
    tensors: Canonical name -> tensor, in the published layout.
    cfg: The model; rank 0 if it has no adapters.
    tokenizer: Its tokenizer, None if a base folder has none.
    carried: What the published model had beside, by canonical name.
    stage: The last stage whose weights are in it; None for a base folder.
    training: What is known of how it was made, JSON values.
  """

  tensors: dict[str, Tensor]
  cfg: LtuConfig
  tokenizer: Tokenizer | None
  carried: dict[str, Tensor]
  stage: Stage | None
  training: dict[str, Any]


def base_source(path: str | os.PathLike) -> Source:
  """A base folder as one source of an import, or as what is exported.

  Raises:
    CheckpointError: No base folder, or damage.
  """
  found = base.info(path)
  tensors = canonical(LtuConfig(**found.parts), found.parts, base_arrays(path))
  tokenizer = load_tokenizer(bucket_scratch.fetched(path))
  return Source(tensors, found.parts, read_carried(path), tokenizer)


def run_source(root: str | os.PathLike, encoder_alone: bool = False) -> Source:
  """A trained run as one source of an import.

  Args:
    root: The run's folder.
    encoder_alone: Leaves out what was learnt together with the run's decoder.

  Raises:
    CheckpointError: Not a run's folder, nothing trained yet, or damage.
  """
  opened = open_run(root)
  parts = {"encoder": opened.cfg.encoder}
  if not encoder_alone:
    parts = {name: getattr(opened.cfg, name) for name in PART_TYPES}
    if not opened.cfg.lora.rank:
      del parts["lora"]
  of_parts = lambda tensors: {
    name: t for name, t in tensors.items() if part_of_name(name) in parts
  }
  return Source(
    of_parts(opened.tensors),
    parts,
    of_parts(opened.carried),
    None if encoder_alone else opened.tokenizer,
  )


def open_base(path: str | os.PathLike) -> Opened:
  """Opens a base folder that holds all parts (adapters may lack).

  Raises:
    CheckpointError: No base folder, or damage.
    ConversionError: A part is missing.
  """
  found, source = base.info(path), base_source(path)
  needed = [part for part in PART_TYPES if part != "lora"]
  if missing := [part for part in needed if part not in found.parts]:
    raise ConversionError(
      f"{path} has no weights for {', '.join(missing)}; it has "
      f"{', '.join(found.parts)}. Import them as well: python -m "
      f"ltu_jax.convert import --base={path} ..."
    )
  lora = found.parts.get("lora", PART_TYPES["lora"](rank=0))
  training = {"origin": found.origin, "content_hash": found.content_hash}
  return Opened(
    source.tensors,
    LtuConfig(**found.parts | {"lora": lora}),
    source.tokenizer,
    source.carried,
    None,
    training,
  )


def open_run(root: str | os.PathLike, stage: int | None = None) -> Opened:
  """Opens a run's model after a stage.

  Args:
    root: The run's folder, of this machine or in a bucket.
    stage: Number of the last stage to lay over; None takes all trained ones.

  Raises:
    CheckpointError: Not a run's folder, nothing trained yet, or damage.
  """
  workdir = Workdir.at(root)
  config = workdir.read_config()
  tokenizer = workdir.load_tokenizer()
  cfg = model_config(workdir, config, tokenizer).unquantized
  arrays, carried, origin, hashes = {}, {}, [], []
  for folder, found in workdir.bases().items():
    arrays |= base_arrays(folder)
    carried |= read_carried(folder)
    origin += found.origin
    hashes.append(found.content_hash)
  trained = workdir.trained_stages(config)
  if stage is not None:
    if stage not in [s.number for s in trained]:
      raise CheckpointError(
        f"{root}: stage {stage} has no checkpoint; there are "
        f"{[s.number for s in trained]}."
      )
    trained = [s for s in trained if s.number <= stage]
  steps = {}
  for one in trained:
    found, steps[one.number] = _stage_arrays(workdir, one, cfg)
    arrays |= found
  parts = [p for p in PART_TYPES if p != "lora" or cfg.lora.rank]
  curves = losses.read(workdir.root / "metrics.jsonl", trained)
  training = {
    "origin": origin,
    "content_hash": "+".join(hashes),
    "steps": steps,
    "config": config,
    "losses": [curve.as_json() for curve in curves],
  }
  return Opened(
    canonical(cfg, parts, arrays),
    cfg,
    tokenizer,
    carried,
    trained[-1] if trained else None,
    training,
  )


def canonical(
  cfg: LtuConfig, parts: Collection[str], arrays: Mapping[str, Tensor]
) -> dict[str, Tensor]:
  """Our stored arrays as published tensors.

  Args:
    cfg: The model.
    parts: The parts that are wanted.
    arrays: `base.stored_name` -> array of ours.

  Raises:
    CheckpointError: One is missing.
  """
  tensors = {}
  for entry in entries(cfg, parts):
    name = base.stored_name(entry.path, entry.layer)
    if name not in arrays:
      raise CheckpointError(
        f"the base weights lack {name}; their folder is damaged, or its"
        " base.json is another's. Import them again."
      )
    array = arrays[name]
    tensors[entry.name] = Tensor(
      published_shape(entry.path, array.shape, cfg.encoder),
      array.dtype,
      functools.partial(_published, entry.path, array, cfg),
      array.origin,
    )
  return tensors


def _published(path: str, array: Tensor, cfg: LtuConfig) -> np.ndarray:
  return to_published(path, array.read(), cfg.encoder)


def base_arrays(path: str | os.PathLike) -> dict[str, Tensor]:
  """The arrays of a base folder by stored name."""
  reader = BaseReader(path)
  return {
    name: Tensor(
      tuple(shape.shape),
      np.dtype(shape.dtype),
      functools.partial(reader.read, name),
      f"{path}: {name}",
    )
    for name, shape in reader.shapes.items()
  }


def read_carried(path: str | os.PathLike) -> dict[str, Tensor]:
  """The tensors beside a base's weights that only an export needs."""
  file = bucket_scratch.fetched(path) / CARRIED
  return open_safetensors(file) if file.exists() else {}


def _stage_arrays(
  workdir: Workdir, stage: Stage, cfg: LtuConfig
) -> tuple[dict[str, Tensor], int]:
  """What a stage trained, by stored name, and its latest step."""
  folder = workdir.checkpoints(stage)
  trainable, _ = split_params(abstract(cfg)[1], stage.trainable)
  with Checkpoints(folder, read_only=True) as saved:
    step = saved.latest_step()

  shapes = leaves(nnx.to_pure_dict(trainable))
  size = sum(math.prod(v.shape) * v.dtype.itemsize for v in shapes.values())

  @functools.lru_cache(maxsize=None if size <= _KEEP_BYTES else 1)
  def stacked(path: str) -> np.ndarray:
    """One parameter of all layers."""
    on = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
    value = shapes[path]
    struct = jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=on)
    with Checkpoints(folder, read_only=True) as saved:
      loaded = saved.load_trainable(nested({path: struct}), step)
    return np.asarray(leaves(loaded)[path])

  def piece(path: str, layer: int | None) -> np.ndarray:
    array = stacked(path)
    return array if layer is None else array[layer]

  found = {}
  for path, value in shapes.items():
    for layer, name in base.layer_names(path, value.shape):
      shape = value.shape if layer is None else value.shape[1:]
      read = functools.partial(piece, path, layer)
      origin = f"{folder / str(step)}: {path}"
      found[name] = Tensor(tuple(shape), np.dtype(value.dtype), read, origin)
  return found, step
