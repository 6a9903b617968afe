"""The folder of a run: what lies where, and how a model is put together.

WORKDIR/config.json         the config, as run
WORKDIR/tokenizer.*         the tokenizer
WORKDIR/pretrained          link to the base folder of config.base, if any
WORKDIR/base                start weights that were drawn, saved once
WORKDIR/checkpoints/stageN  the trainable part of stage N, per step
WORKDIR/unreadable.jsonl    clips that were skipped, if any
WORKDIR/metrics.jsonl, times, profile, tensorboard, report.*, curves.png

A model is what was drawn and the pretrained parts, with the trained part of
each stage laid over them in order.
"""

import dataclasses
import json
import os
import pathlib
import tempfile
from collections.abc import Collection, Mapping
from typing import Any

import jax
import ml_collections
from flax import nnx
from jax.sharding import Mesh

from ltu_jax import base, base_load, json_text
from ltu_jax import config as config_lib
from ltu_jax.base import BaseInfo, info
from ltu_jax.checkpoint import CheckpointError, Checkpoints
from ltu_jax.curriculum import Stage
from ltu_jax.data.tokenizer import Tokenizer, load_tokenizer
from ltu_jax.models.ltu import LTU, PART_TYPES, LtuConfig, abstract, part_of
from ltu_jax.sharding import make_mesh, path_name
from ltu_jax.train_state import (
  abstract_params,
  init_params,
  overlay,
  split_params,
  split_parts,
)
from ltu_jax.weight_placer import placed

_FREE = (
  "log_every",
  "checkpoint_every",
  "keep_checkpoints",
  "keep_every",
  "keep_best",
  "keep_best_metric",
  "eval",
  "mesh",
  "debug",
  "profile",
  "guard.max_in_row",
  # What lies there is compared, wherever it lies.
  "data.dir",
  "data.max_unreadable",
  "data.num_threads",
)
"""Fields that may change when a run goes on, as it learns the same."""


@dataclasses.dataclass(frozen=True)
class Workdir:
  """Paths of a run.

  Attributes:
    root: the folder.
  """

  root: pathlib.Path

  @property
  def config(self) -> pathlib.Path:
    """The config, as JSON."""
    return self.root / "config.json"

  @property
  def base(self) -> pathlib.Path:
    """Base folder (base.py) of the start weights that were drawn."""
    return self.root / "base"

  @property
  def pretrained(self) -> pathlib.Path:
    """Link to the base folder that the run was given."""
    return self.root / "pretrained"

  def bases(self) -> dict[pathlib.Path, BaseInfo]:
    """The base folders of the run that are there, with what they hold.

    Raises:
      CheckpointError: one is damaged, or the pretrained one has gone.
    """
    folders = (self.pretrained, self.base)
    return {f: info(f) for f in folders if f.is_symlink() or f.exists()}

  def checkpoints(self, stage: Stage) -> pathlib.Path:
    """The folder of a stage's checkpoints."""
    return self.root / "checkpoints" / f"stage{stage.number}"

  def trained_stages(self, config: Mapping[str, Any]) -> list[Stage]:
    """The stages of a config that have a checkpoint, in order.

    Raises:
      CheckpointError: none has.
    """
    has_weights = lambda s: any(
      p.name.isdigit() for p in self.checkpoints(s).glob("*")
    )
    trained = [s for s in config_lib.stages(config) if has_weights(s)]
    if not trained:
      raise CheckpointError(
        f"{self.root}: no stage has a checkpoint yet. Go on training with: "
        f"python -m ltu_jax.main --config=... --workdir={self.root}"
      )
    return trained

  def load_tokenizer(self) -> Tokenizer:
    """Loads the run's tokenizer.

    Raises:
      CheckpointError: there is none, or it cannot be used.
    """
    try:
      tokenizer = load_tokenizer(self.root)
    except ValueError as error:
      raise CheckpointError(str(error)) from error
    if tokenizer is None:
      raise CheckpointError(f"{self.root}: the run's tokenizer is missing.")
    return tokenizer

  def check_config(
    self, config: ml_collections.ConfigDict, allow: Collection[str] = ()
  ) -> None:
    """Checks that a run that was started here had this config.

    Args:
      config: the config.
      allow: fields, such as `data` or `data.batch_size`, that may differ.

    Raises:
      ConfigError: the folder is of a run with another config; names each
        field that differs.
    """
    if not self.config.exists():
      return
    old, new = self.read_config(), json.loads(config.to_json())
    # A line is "config.a.b: 1 -> 2"; a field may have others below it.
    free = [f"config.{name}{end}" for name in (*_FREE, *allow) for end in ":."]
    lines = config_lib.differences(old, new)
    if lines := [line for line in lines if not line.startswith(tuple(free))]:
      names = [x.partition(":")[0].removeprefix("config.") for x in lines]
      raise config_lib.ConfigError(
        f"{self.root} is of a run with another config:\n  "
        + "\n  ".join(lines)
        + "\nSet these back, or choose another --workdir; or go on all the same"
        f" with --allow={','.join(names)}"
      )

  def record_config(self, config: ml_collections.ConfigDict) -> None:
    """Writes the config; makes the folder. To be called by all `in_turn`.

    Raises:
      ConfigError: another process wrote it and this one does not see it.
    """
    if jax.process_index():
      if not self.config.exists():
        raise config_lib.ConfigError(
          f"{self.config}, which process 0 wrote, is not to be seen by process"
          f" {jax.process_index()}; --workdir must be on a disk that all"
          " processes share"
        )
      return
    self.root.mkdir(parents=True, exist_ok=True)
    fresh = self.config.with_suffix(".tmp")
    fresh.write_text(json.dumps(json.loads(config.to_json()), indent=2) + "\n")
    fresh.replace(self.config)

  def record_tokenizer(self, tokenizer: Tokenizer | None) -> Tokenizer | None:
    """Writes the tokenizer, if there is none. To be called by all `in_turn`.

    Args:
      tokenizer: the first process's; None elsewhere, and where nothing is text.

    Returns:
      The run's, the same in all processes; None where nothing is text.
    """
    if tokenizer is not None and load_tokenizer(self.root) is None:
      with tempfile.TemporaryDirectory(dir=self.root) as fresh:
        tokenizer.save(fresh)
        # The file that makes it one, tokenizer.*, comes last.
        for path in sorted(pathlib.Path(fresh).iterdir(), reverse=True):
          path.replace(self.root / path.name)
    return load_tokenizer(self.root)

  def read_config(self) -> dict[str, Any]:
    """Reads the config of the run.

    Raises:
      CheckpointError: no run was started in this folder, or its config.json
        is damaged.
    """
    if not self.config.is_file():
      raise CheckpointError(
        f"{self.root}: no run was started in this folder (there is no "
        "config.json). Train one with: python -m ltu_jax.main "
        f"--config=configs/quickstart.py --workdir={self.root}"
      )
    try:
      found = json_text.read(self.config)
    except ValueError as error:
      raise CheckpointError(f"{self.config} is damaged: {error}") from error
    if not isinstance(found, dict):
      raise CheckpointError(
        f"{self.config} is damaged: it holds no JSON object"
      )
    return found


def to_pure(state: Mapping[str, Any]) -> dict[str, Any]:
  """A train state as plain dicts and tuples, for the checkpoint."""
  opt = state["opt"]
  pure = nnx.to_pure_dict
  return {
    **state,
    "trainable": pure(state["trainable"]),
    "opt": opt._replace(mu=pure(opt.mu), nu=pure(opt.nu)),
  }


def from_pure(
  pure: Mapping[str, Any], like: Mapping[str, Any]
) -> dict[str, Any]:
  """The inverse of `to_pure`; `like` gives the structure."""
  opt, like_opt = pure["opt"], like["opt"]
  return {
    **pure,
    "trainable": overlay(like["trainable"], pure["trainable"]),
    "opt": opt._replace(
      mu=overlay(like_opt.mu, opt.mu), nu=overlay(like_opt.nu, opt.nu)
    ),
  }


def model_config(
  workdir: Workdir, config: Mapping[str, Any], tokenizer: Tokenizer | None
) -> LtuConfig:
  """The run's model; its vocabulary is the tokenizer's or the pretrained one's.

  Without a tokenizer it is the config's, which has the pretrained one's sizes.

  Raises:
    ConfigError: a tokenizer with more ids than the pretrained decoder has.
  """
  if tokenizer is None:
    return config_lib.model_config(config)
  pretrained = workdir.bases().get(workdir.pretrained)
  if pretrained is None or "llama" not in pretrained.parts:
    return config_lib.model_config(config, tokenizer.vocab_size)
  cfg = config_lib.model_config(config)
  if tokenizer.vocab_size > cfg.llama.vocab:
    raise config_lib.ConfigError(
      f"the tokenizer has {tokenizer.vocab_size} ids, the decoder of "
      f"{config['base']} only {cfg.llama.vocab}; set config.tokenizer.model to "
      "the decoder's own tokenizer"
    )
  return cfg


def make_base(
  workdir: Workdir, config: Mapping[str, Any], cfg: LtuConfig, mesh: Mesh
) -> None:
  """Draws the start weights that no pretrained base gives, and saves them."""
  if workdir.base.exists():
    return
  cfg = cfg.unquantized
  given = {part for found in workdir.bases().values() for part in found.parts}
  parts = {name: getattr(cfg, name) for name in PART_TYPES if name not in given}
  params = init_params(cfg, mesh, jax.random.key(config["seed"]), tuple(parts))
  if nnx.to_flat_state(params):
    origin = [f"{', '.join(parts)}: drawn from seed {config['seed']}"]
    base.save(workdir.base, params, parts, origin)


def load_base_params(
  workdir: Workdir, cfg: LtuConfig, mesh: Mesh, cast: bool = False
) -> tuple[nnx.State, str]:
  """Start weights on the mesh, and their hash; `cast` as in base_load.

  Raises:
    CheckpointError: missing, damaged, or of another model.
  """
  target = abstract_params(cfg, mesh)
  params, hashes = target, []
  for folder, found in workdir.bases().items():
    part, _ = split_parts(target, found.parts)
    pure = base_load.load(folder, nnx.to_pure_dict(part), cast)
    params = overlay(params, pure)
    hashes.append(found.content_hash)
  missing = {
    part_of(path_name(path))
    for path, variable in nnx.to_flat_state(params)
    if not isinstance(variable.get_value(), jax.Array)
  }
  if missing:
    raise CheckpointError(
      f"{workdir.root}: there are no start weights for {sorted(missing)}."
    )
  return params, "+".join(hashes)


def weight_shapes(weights: nnx.State) -> dict[str, Any]:
  """Shapes and shardings of weights, as `Checkpoints` takes them."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    nnx.to_pure_dict(weights),
  )


def lay_over(workdir: Workdir, stage: Stage, params: nnx.State) -> nnx.State:
  """Parameters with the stage's latest whole trained part in their place.

  Raises:
    CheckpointError: the stage has no checkpoint that is whole.
  """
  return overlay(params, _stage_weights(workdir, stage, params))


def _stage_weights(
  workdir: Workdir, stage: Stage, params: nnx.State
) -> dict[str, Any]:
  """A stage's trained part; `params`, arrays or shapes, say where it goes."""
  trainable, _ = split_params(params, stage.trainable)
  folder = workdir.checkpoints(stage)
  with Checkpoints(folder, read_only=True) as saved:
    found = saved.load_latest(weight_shapes(trainable))
  if found is None:
    raise CheckpointError(f"{folder}: no checkpoint in this folder is whole.")
  return found[1]


@dataclasses.dataclass(frozen=True)
class Trained:
  """A model put together from a run's folder or a bundle.

  Attributes:
    model: LTU with all trained parts.
    tokenizer: its tokenizer.
    config: the run's config; {} where a bundle does not know it.
    stage: the last stage that has weights; None if none was trained.
  """

  model: LTU
  tokenizer: Tokenizer
  config: dict[str, Any]
  stage: Stage | None


def load_trained(
  root: str | os.PathLike,
  mesh: Mesh | None = None,
  *,
  dtype: str = "",
  base_dtype: str = "",
) -> Trained:
  """Puts a run's latest model together.

  Matrices are rounded while they are read, but those that a stage trained only
  when all that it trained is on the devices.

  Args:
    root: The run's folder.
    mesh: Where the model goes; None is this process's first device.
    dtype: See `bundle.load_model`.
    base_dtype: See `bundle.load_model`.

  Raises:
    CheckpointError: not a run's folder, nothing trained yet, or damage.
    ShardingError: the mesh cannot divide a parameter.
    ValueError: no such `dtype` or `base_dtype`.
  """
  workdir = Workdir(pathlib.Path(root))
  config = workdir.read_config()
  trained = workdir.trained_stages(config)
  tokenizer = workdir.load_tokenizer()
  cfg = model_config(workdir, config, tokenizer)
  asked = cfg.for_answering(dtype, base_dtype)
  mesh = mesh or make_mesh({}, jax.local_devices()[:1])
  params, _ = load_base_params(workdir, asked, mesh, cast=bool(dtype))
  as_trained = abstract_params(cfg, mesh)
  wanted = nnx.to_pure_dict(abstract_params(asked, mesh))
  for stage in trained:
    # No name for what is loaded: it would be held until all is placed.
    part = placed(_stage_weights(workdir, stage, as_trained), wanted)
    params = overlay(params, part)
  model = nnx.merge(abstract(asked)[0], params)
  return Trained(model, tokenizer, config, trained[-1])
