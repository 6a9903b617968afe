"""A bundle: one folder with all that asking and evaluating a model needs.

BUNDLE/config.json          sizes, last stage, how the model was made
BUNDLE/model*.safetensors   all weights, under the published code's names
BUNDLE/tokenizer.*          the tokenizer
BUNDLE/README.md            the model card

Neither the run's folder nor TensorFlow is needed to load it.
"""

import collections
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from ltu_jax import bucket_store, json_text, tree_names
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.config import ConfigError
from ltu_jax.convert.bundle_folder import (
  FORMAT,
  VERSION,
  bundle_problems,
  parts_of,
)
from ltu_jax.convert.files import open_weights
from ltu_jax.convert.from_torch import Entry, entries
from ltu_jax.convert.names import PREFIX, to_ours
from ltu_jax.convert.tensors import ConversionError, Tensor, problem_table
from ltu_jax.curriculum import Stage
from ltu_jax.data.tokenizer import load_tokenizer
from ltu_jax.models.ltu import PART_TYPES, LtuConfig, abstract
from ltu_jax.sharding import ShardingError, make_mesh
from ltu_jax.train_state import abstract_params, overlay
from ltu_jax.trained import Trained, load_trained
from ltu_jax.weight_placer import WeightPlacer

LOAD_ERRORS = (
  bucket_store.BucketError,
  CheckpointError,
  ConfigError,
  ConversionError,
  FileNotFoundError,
  ShardingError,
)
"""What `load_model` raises for a mistake of the user's; one clear message."""


def load_bundle(
  folder: str | os.PathLike,
  mesh: Mesh | None = None,
  *,
  dtype: str = "",
  base_dtype: str = "",
) -> Trained:
  """Loads a bundle's model.

  The parameters are read one after the other. Beside the model itself, one of
  them with all its layers is held on the host; of one that is rounded, only a
  few layers.

  Args:
    folder: What `write_bundle` made.
    mesh: Where the model goes; None is this process's first device.
    dtype: See `load_model`.
    base_dtype: See `load_model`.

  Returns:
    The model, its tokenizer, the config of its run ({} if unknown) and the last
    stage (None if none trained it).

  Raises:
    CheckpointError: No bundle, one of a later version, or a damaged one.
    ConversionError: Weights that are missing, damaged or not the model's; lists
      all that is wrong with them.
    ShardingError: The mesh cannot divide a parameter.
    ValueError: No such `dtype` or `base_dtype`.
  """
  folder = pathlib.Path(folder).absolute()
  cfg, stage, training = _read_config(folder)
  try:
    tokenizer = load_tokenizer(folder)
  except ValueError as error:
    raise CheckpointError(
      f"{folder}: the bundle's tokenizer is damaged: {error}"
    ) from error
  if tokenizer is None:
    raise CheckpointError(f"{folder}: the bundle's tokenizer is missing.")
  tensors = {
    name.removeprefix(PREFIX): tensor
    for name, tensor in open_weights(folder).items()
  }
  if rows := bundle_problems(cfg, tensors):
    raise ConversionError(
      f"{folder}: the weights are not those of its config.json\n"
      + problem_table(rows)
    )
  asked = cfg.for_answering(dtype, base_dtype)
  mesh = mesh or make_mesh({}, jax.local_devices()[:1])
  target = abstract_params(asked, mesh)
  placer = WeightPlacer(tree_names.leaves(nnx.to_pure_dict(target)))
  found = collections.defaultdict(list)
  for entry in entries(cfg, parts_of(cfg)):
    found[entry.path].append(entry)
  for layers in found.values():
    _place(placer, layers, tensors)
  placer.wait()
  params = overlay(target, tree_names.nested(placer.arrays))
  model = nnx.merge(abstract(asked)[0], params)
  return Trained(model, tokenizer, training.get("config") or {}, stage)


def load_model(
  workdir: str | os.PathLike | None = None,
  bundle: str | os.PathLike | None = None,
  *,
  mesh: Mesh | None = None,
  dtype: str = "",
  base_dtype: str = "",
) -> Trained:
  """Loads the model of a run's folder or of a bundle, whichever is given.

  Args:
    workdir: A run's folder, of this machine or in a bucket.
    bundle: A bundle, of this machine.
    mesh: Where the model goes (answering_mesh.py makes one); it answers under
      `jax.set_mesh(mesh)`. None is this process's first device.
    dtype: "bfloat16" or "float32", in which encoder and decoder compute.
      "bfloat16" also keeps the decoder in it; what trains in float32 (encoder,
      projection, adapters) stays float32. "" as it was trained.
    base_dtype: "int8" or "int4" rounds the decoder's matrices, from the numbers
      that are stored (models/quantized.py); "" as it was trained.

  Raises:
    CheckpointError: As `load_trained` and `load_bundle`; also if a bundle is
      given as `workdir`.
    ConversionError: As `load_bundle`.
    ShardingError: The mesh cannot divide a parameter.
    ValueError: No such `dtype` or `base_dtype`.
  """
  how = {"mesh": mesh, "dtype": dtype, "base_dtype": base_dtype}
  if bundle is not None:
    return load_bundle(bundle, **how)
  if _is_bundle(bucket_store.path(workdir)):
    raise CheckpointError(
      f"{workdir} is a bundle and no run's folder: use --bundle={workdir}"
    )
  return load_trained(workdir, **how)


def _place(
  placer: WeightPlacer,
  layers: Sequence[Entry],
  tensors: Mapping[str, Tensor],
) -> None:
  """Reads one parameter, stacked if it is, and lays it over the mesh."""
  path = layers[0].path
  read = lambda e: to_ours(path, tensors[e.name].read(), e.shape)
  if placer.is_rounded(path):
    for entry in layers:
      placer.add_from_host(path, entry.layer, read(entry))
    return
  struct = placer.wanted[path]
  host = np.empty(struct.shape, struct.dtype)
  for entry in layers:
    host[... if entry.layer is None else entry.layer] = read(entry)
  placer.add_from_host(path, None, host)


def _is_bundle(folder: pathlib.Path) -> bool:
  """Whether config.json says so."""
  try:
    found = json_text.read(folder / "config.json")
  except (OSError, ValueError):
    return False
  return isinstance(found, dict) and found.get("format") == FORMAT


def _read_config(
  folder: pathlib.Path,
) -> tuple[LtuConfig, Stage | None, dict[str, Any]]:
  """Reads config.json: model, stage, training."""
  path = folder / "config.json"
  try:
    found = json_text.read(path)
  except OSError as error:
    raise CheckpointError(
      f"{folder}: there is no bundle in this folder ({path.name}: "
      f"{error.strerror}). Make one with: python -m ltu_jax.convert export "
      "--workdir=... --format=bundle --out=..."
    ) from error
  except ValueError as error:
    raise CheckpointError(f"{path} is damaged: {error}") from error
  if not isinstance(found, dict) or found.get("format") != FORMAT:
    raise CheckpointError(
      f"{folder} is no bundle. For the folder of a run, use --workdir={folder}"
    )
  if found.get("version") != VERSION:
    raise CheckpointError(
      f"{path}: this bundle has version {found.get('version')!r}, and this "
      f"program reads {VERSION}. Bring ltu_jax up to date, or export it again."
    )
  try:
    parts = {k: _made(c, found["model"][k]) for k, c in PART_TYPES.items()}
    stage = found["stage"] and _made(Stage, found["stage"])
    return LtuConfig(**parts), stage, dict(found["training"])
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise CheckpointError(f"{path} cannot be used: {error!r}") from error


def _made(cls: type, values: Mapping[str, Any]) -> Any:
  """A dataclass of JSON values; lists become tuples."""
  return cls(
    **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
  )
