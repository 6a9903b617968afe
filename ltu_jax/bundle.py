"""A bundle: one folder with all that asking and evaluating a model needs.

BUNDLE/config.json          sizes, last stage, how the model was made
BUNDLE/model*.safetensors   all weights, under the published code's names
BUNDLE/tokenizer.*          the tokenizer
BUNDLE/README.md            the model card

Neither the run's folder nor TensorFlow is needed to load it.
"""

import collections
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from ltu_jax.checkpoint import CheckpointError
from ltu_jax.convert.files import open_weights
from ltu_jax.convert.from_torch import Entry, entries, problems
from ltu_jax.convert.model_card import model_card
from ltu_jax.convert.names import PREFIX, part_of_name, to_ours
from ltu_jax.convert.tensors import ConversionError, Tensor, problem_table
from ltu_jax.convert.writers import fresh_folder, write_json, write_shards
from ltu_jax.curriculum import Stage
from ltu_jax.data.tokenizer import Tokenizer, load_tokenizer
from ltu_jax.models.ltu import PART_TYPES, LtuConfig, abstract
from ltu_jax.sharding import make_mesh, path_name
from ltu_jax.train_state import abstract_params
from ltu_jax.workdir import Trained, load_trained

_FORMAT = "ltu_jax bundle"
_VERSION = 1


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
  if rows := _problems(cfg, tensors):
    raise ConversionError("cannot export:\n" + problem_table(rows))
  parameters = collections.Counter()
  for name, tensor in tensors.items():
    parameters[part_of_name(name)] += math.prod(tensor.shape)
  parameters = {p: parameters[p] for p in PART_TYPES if p in parameters}
  config = {
    "format": _FORMAT,
    "version": _VERSION,
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
  if rows := _problems(cfg, tensors):
    raise ConversionError(
      f"{folder}: the weights are not those of its config.json\n"
      + problem_table(rows)
    )
  mesh = mesh or make_mesh({}, jax.local_devices()[:1])
  found = collections.defaultdict(list)
  for entry in entries(cfg, _parts(cfg)):
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


def _parts(cfg: LtuConfig) -> list[str]:
  """The parts that a model has."""
  return [part for part in PART_TYPES if part != "lora" or cfg.lora.rank]


def _problems(
  cfg: LtuConfig, tensors: Mapping[str, Tensor]
) -> list[tuple[str, str, str]]:
  """Missing, mis-shaped, unexpected tensors, and those of another dtype."""
  rows = problems(cfg, _parts(cfg), tensors)
  for entry in entries(cfg, _parts(cfg)):
    given = tensors.get(entry.name)
    if given is not None and given.dtype != entry.dtype:
      detail = f"{given.dtype} in {given.origin}, the model has {entry.dtype}"
      rows.append(("wrong dtype", entry.name, detail))
  return rows


def _is_bundle(folder: pathlib.Path) -> bool:
  """Whether config.json says so."""
  try:
    found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
  except (OSError, ValueError):
    return False
  return isinstance(found, dict) and found.get("format") == _FORMAT


def _read_config(
  folder: pathlib.Path,
) -> tuple[LtuConfig, Stage | None, dict[str, Any]]:
  """Reads config.json: model, stage, training."""
  path = folder / "config.json"
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
  except OSError as error:
    raise CheckpointError(
      f"{folder}: there is no bundle in this folder ({path.name}: "
      f"{error.strerror}). Make one with: python -m ltu_jax.convert export "
      "--workdir=... --format=bundle --out=..."
    ) from error
  except ValueError as error:
    raise CheckpointError(f"{path} is damaged: {error}") from error
  if not isinstance(found, dict) or found.get("format") != _FORMAT:
    raise CheckpointError(
      f"{folder} is no bundle. For the folder of a run, use --workdir={folder}"
    )
  if found.get("version") != _VERSION:
    raise CheckpointError(
      f"{path}: this bundle has version {found.get('version')!r}, and this "
      f"program reads {_VERSION}. Bring ltu_jax up to date, or export it again."
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
