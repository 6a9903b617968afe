"""What a run's stages trained, laid over what they started from."""

import dataclasses
import os
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh

from ltu_jax.checkpoint import CheckpointError, Checkpoints
from ltu_jax.curriculum import Stage
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.models.ltu import LTU, abstract
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import abstract_params, overlay, split_params
from ltu_jax.weight_placer import placed
from ltu_jax.workdir import (
  Workdir,
  load_base_params,
  model_config,
  weight_shapes,
)


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
    root: The run's folder, of this machine or in a bucket.
    mesh: Where the model goes; None is this process's first device.
    dtype: See `bundle.load_model`.
    base_dtype: See `bundle.load_model`.

  Raises:
    BucketError: the bucket cannot be read.
    CheckpointError: not a run's folder, nothing trained yet, or damage.
    ShardingError: the mesh cannot divide a parameter.
    ValueError: no such `dtype` or `base_dtype`.
  """
  workdir = Workdir.at(root)
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
