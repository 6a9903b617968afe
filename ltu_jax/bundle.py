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

from ltu_jax import json_text
from ltu_jax.checkpoint import CheckpointError
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
from ltu_jax.sharding import make_mesh, path_name
from ltu_jax.train_state import abstract_params
from ltu_jax.workdir import Trained, load_trained


def load_bundle(folder: str | os.PathLike, mesh: Mesh | None = None) -> Trained:
  """Loads a bundle's model.

  The parameters are read one after the other. Beside the model itself, one of
  them with all its layers is held on the host.

  Args:
    folder: What `write_bundle` made.
    mesh: Where the model goes; None is this process's first device.

  Returns:
    The model, its tokenizer, the config of its run ({} if unknown) and the last
    stage (None if none trained it).

  Raises:
    CheckpointError: No bundle, one of a later version, or a damaged one.
    ConversionError: Weights that are missing, damaged or not the model's; lists
      all that is wrong with them.
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
  mesh = mesh or make_mesh({}, jax.local_devices()[:1])
  found = collections.defaultdict(list)
  for entry in entries(cfg, parts_of(cfg)):
    found[entry.path].append(entry)
  params = nnx.from_flat_state(
    (path, value.replace(_load(value.get_value(), found[name], tensors)))
    for path, value in nnx.to_flat_state(abstract_params(cfg, mesh))
    for name in [path_name(path)]
  )
  model = nnx.merge(abstract(cfg)[0], params)
  return Trained(model, tokenizer, training.get("config") or {}, stage)


def load_model(
  workdir: str | os.PathLike | None = None,
  bundle: str | os.PathLike | None = None,
) -> Trained:
  """Loads the model of a run's folder or of a bundle, whichever is given.

  Raises:
    CheckpointError: As `load_trained` and `load_bundle`; also if a bundle is
      given as `workdir`.
    ConversionError: As `load_bundle`.
  """
  if bundle is not None:
    return load_bundle(bundle)
  if _is_bundle(pathlib.Path(workdir)):
    raise CheckpointError(
      f"{workdir} is a bundle and no run's folder: use --bundle={workdir}"
    )
  return load_trained(workdir)


def _load(
  target: jax.ShapeDtypeStruct,
  layers: Sequence[Entry],
  tensors: Mapping[str, Tensor],
) -> jax.Array:
  """Reads one parameter, stacked if it is, and lays it over the mesh."""
  host = np.empty(target.shape, target.dtype)
  for entry in layers:
    array = to_ours(entry.path, tensors[entry.name].read(), entry.shape)
    host[... if entry.layer is None else entry.layer] = array
  return jax.make_array_from_callback(
    target.shape, target.sharding, lambda index: host[index]
  )


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
