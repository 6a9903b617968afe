"""What the stages of a run share: data, model, folder, instruments."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections
from flax import nnx
from jax.sharding import Mesh

from ltu_jax.checkpoint import Checkpoints
from ltu_jax.checkpoint_keep import Keep
from ltu_jax.curriculum import Stage
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.evaluate.in_training import SetsInTraining
from ltu_jax.metrics import Metrics
from ltu_jax.models.ltu import LtuConfig
from ltu_jax.profiling import Profile
from ltu_jax.stop import Stop
from ltu_jax.supply import Supply
from ltu_jax.times import Times
from ltu_jax.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Experiment:
  """What the stages of a run share.

  Attributes:
    config: see default_config.py.
    folder: the run's folder.
    mesh: the mesh.
    data: what is trained on.
    tokenizer: of the run; None where nothing is text.
    cfg: the model.
    graphdef: its structure.
    metrics: what is written of each step.
    times: where the wall time goes.
    profile: which steps are traced.
    stop: whether the run is to end.
    origin: what each checkpoint says of where it comes from (resume.py).
    allow: differences that a run goes on with all the same.
    check_lock: raises if another run has taken the folder.
    sets: what is evaluated every so many steps and at the end of a stage.
  """

  config: ml_collections.ConfigDict
  folder: Workdir
  mesh: Mesh
  data: Supply
  tokenizer: Tokenizer | None
  cfg: LtuConfig
  graphdef: nnx.GraphDef
  metrics: Metrics
  times: Times
  profile: Profile
  stop: Stop
  origin: Mapping[str, Any]
  allow: frozenset[str]
  check_lock: Callable[[], None]
  sets: SetsInTraining

  def flush(self) -> str:
    """Makes what was written safe, before a checkpoint; "" or why it is not."""
    return self.metrics.flush() or self.folder.push()

  def evaluate_sets(self, params: nnx.State, stage: Stage, step: int) -> None:
    """Evaluates on the sets of the config; all processes call it.

    Args:
      params: all parameters.
      stage: the stage.
      step: steps of it that are done.
    """
    model = nnx.merge(self.graphdef, params)
    self.sets(model, self.tokenizer, self.mesh, self.metrics, stage, step)

  def checkpoints(self, stage: Stage) -> Checkpoints:
    """Opens the checkpoints of a stage."""
    config = self.config
    metadata = {"stage": stage.number, "config": config.to_json()}
    return Checkpoints(
      self.folder.checkpoints(stage),
      keep=keep(config),
      save_every=config.checkpoint_every,
      metadata=metadata | {"base": config.base, **self.origin},
    )


def keep(config: ml_collections.ConfigDict) -> Keep:
  """Which checkpoints stay."""
  return Keep(
    config.keep_checkpoints,
    config.keep_every,
    config.keep_best,
    config.keep_best_metric,
  )
