"""Which checkpoints of a stage stay."""

import dataclasses

from orbax.checkpoint import v1 as ocp

_policies = ocp.training.preservation_policies


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

  def policy(self) -> object:
    """As Orbax takes it."""
    chosen = [_policies.LatestN(self.last)]
    if self.every:
      chosen.append(_policies.EveryNSteps(self.every))
    if self.best:
      chosen.append(
        _policies.BestN(
          get_metric_fn=lambda metrics: metrics[self.metric],
          reverse=True,  # the lowest are the best
          n=self.best,
          keep_checkpoints_without_metrics=False,
        )
      )
    return _policies.AnyPreservationPolicy(chosen)

  def at_once(self) -> int:
    """How many there may be, with the one being written, but for `every`."""
    return self.last + self.best + 1
