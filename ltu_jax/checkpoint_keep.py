"""Which checkpoints of a stage stay."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from orbax.checkpoint import v1 as ocp

from ltu_jax.checkpoint_step import CheckpointError, read_seal

_policies = ocp.training.preservation_policies

METRICS = "metrics"
"""Where a checkpoint's metadata has the metrics that the best are chosen by.

Orbax has a file of its own for them, and opens no folder of checkpoints in
which one of these files is damaged.
"""


@dataclasses.dataclass(frozen=True)
class Keep:
  """A checkpoint stays if any of these says so.

  Attributes:
    last: how many of the latest stay.
    every: those at multiples of so many steps stay; 0 for none.
    best: how many stay whose metric was the lowest; 0 for none.
    metric: the metric; its mean over the steps since the checkpoint before.
  """

  last: int = 2
  every: int = 0
  best: int = 0
  metric: str = "loss"

  def policy(self, directory: pathlib.Path, saved: dict[int, float]) -> Any:
    """As Orbax takes it.

    Args:
      directory: the folder of the checkpoints.
      saved: step -> metrics of those that this process has saved.
    """
    chosen = [_policies.LatestN(self.last)]
    if self.every:
      chosen.append(_policies.EveryNSteps(self.every))
    if self.best:
      chosen.append(_Best(self.best, self.metric, directory, saved))
    return _policies.AnyPreservationPolicy(chosen)


@dataclasses.dataclass
class _Best:
  """Keeps the checkpoints whose metric is lowest.

  Attributes:
    number: how many.
    metric: its name.
    directory: folder of the checkpoints.
    saved: step -> metrics; those of older ones are read, and added.
  """

  number: int
  metric: str
  directory: pathlib.Path
  saved: dict[int, Any]

  def should_preserve(
    self, checkpoints: Sequence[Any], *, context: Any
  ) -> Sequence[bool]:
    """Says of each checkpoint whether it is to stay."""
    del context
    values = {info.step: self._value(info.step) for info in checkpoints}
    known = [step for step, value in values.items() if value is not None]
    best = sorted(known, key=values.__getitem__)[: self.number]
    return [info.step in best for info in checkpoints]

  def _value(self, step: int) -> float | None:
    """A step's metric; None where it is not known."""
    if step not in self.saved:
      self.saved[step] = {}
      try:
        seal = read_seal(self.directory / str(step))
        self.saved[step] = seal.metadata.get(METRICS, {})
      except CheckpointError:  # it is moved aside when it is needed
        pass
    return self.saved[step].get(self.metric)
