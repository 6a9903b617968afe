"""Keeps updates out that would spoil the weights; inside the compiled step.

An update is skipped where the loss or the gradient's norm is no finite number,
and where the loss jumps, if that is asked for. The step is counted all the
same, so learning rate, data and keys go on as if it had been made.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

_MEMORY = 0.99
"""The running mean's share of what it was: it looks back some 100 steps."""


@dataclasses.dataclass(frozen=True)
class Guard:
  """When an update is skipped.

  Attributes:
    spike_factor: A loss above so many times the running mean is a spike; 0 for
      no such check.
    spike_after: Updates that the running mean needs before it counts.
    max_in_row: Steps in a row without an update, above which the run stops.
  """

  spike_factor: float = 0.0
  spike_after: int = 100
  max_in_row: int = 10

  def __call__(
    self, memory: dict[str, jax.Array], loss: jax.Array, norm: jax.Array
  ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """Judges a step.

    Args:
      memory: As `start` gives it.
      loss: Mean loss of the batch.
      norm: Norm of its gradient, before clipping.

    Returns:
      Whether loss and gradient are finite, whether the update is to be made
      (bool scalars), and the new memory.
    """
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    good = finite
    if self.spike_factor:
      known = memory["updates"] >= self.spike_after
      good &= ~known | (loss <= self.spike_factor * memory["loss"])
    share = jnp.minimum(_MEMORY, 1 - 1 / (memory["updates"] + 1.0))
    seen = {
      "loss": share * memory["loss"] + (1 - share) * loss,
      "updates": memory["updates"] + 1,
    }
    return finite, good, choose(good, seen, memory)


def start() -> dict[str, jax.Array]:
  """What the guard remembers before the first step: no update, no loss."""
  return {"loss": jnp.float32(0), "updates": jnp.int32(0)}


def choose(good: jax.Array, new: Any, old: Any) -> Any:
  """The new tree where `good`, else the old one, to the bit."""
  return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)
