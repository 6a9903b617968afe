"""The losses of a run, read from its metrics.jsonl, stage by stage.

Shapes: n steps of a stage.
"""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ltu_jax import metrics_file
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.curriculum import Stage

_END_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class StageCurve:
  """What was recorded of one stage.

  Attributes:
    number: Number of the stage.
    name: Its name.
    step: int [n], finished steps, rising; empty if it was not trained here.
    loss: float [n], mean over the targets of the step; NaN if it was not
      finite.
    rate: float [n], learning rate.
  """

  number: int
  name: str
  step: np.ndarray
  loss: np.ndarray
  rate: np.ndarray

  @property
  def last_tenth(self) -> float:
    """Mean loss of the last tenth of the steps; NaN if there is none."""
    if not len(self.loss):
      return math.nan
    return float(np.mean(self.loss[-math.ceil(_END_SHARE * len(self.loss)) :]))

  def as_json(self) -> dict[str, Any]:
    """Number, name, steps, and first, last and mean end loss; None for NaN."""
    found = len(self.loss) > 0
    losses = {
      "first_loss": self.loss[0] if found else math.nan,
      "last_loss": self.loss[-1] if found else math.nan,
      "mean_loss_last_tenth": self.last_tenth,
    }
    return {
      "stage": self.number,
      "name": self.name,
      "steps": int(self.step[-1]) if found else 0,
    } | {k: float(v) if math.isfinite(v) else None for k, v in losses.items()}


def read(
  path: str | os.PathLike, stages: Sequence[Stage]
) -> tuple[StageCurve, ...]:
  """Reads the curves of a run's stages.

  Args:
    path: The run's metrics.jsonl, as `ltu_jax.metrics` writes it.
    stages: The stages of the run, in order.

  Returns:
    One curve a stage; empty ones if there is no such file.

  Raises:
    CheckpointError: A line that `ltu_jax.metrics` does not write.
  """
  try:
    lines = [values for values, _ in metrics_file.read(path)]
  except metrics_file.MetricsError as error:
    raise CheckpointError(str(error)) from error
  found: dict[int, list[Mapping[str, Any]]] = {}
  for values in lines:
    found.setdefault(values["stage"], []).append(values)
  return tuple(_curve(stage, found.get(stage.number, [])) for stage in stages)


def _curve(stage: Stage, lines: Sequence[Mapping[str, Any]]) -> StageCurve:
  """The curve of a stage's lines."""
  column = lambda key, dtype: np.array([line.get(key) for line in lines], dtype)
  return StageCurve(
    stage.number,
    stage.name,
    column("step", np.int64),
    # None, for what is no finite number, becomes NaN.
    column("loss", np.float64),
    column("lr", np.float64),
  )
