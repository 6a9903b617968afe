"""From a host's rows to arrays over all devices.

Letters: A micro-batches, B rows of a micro-batch over all hosts.
"""

from collections.abc import Iterable, Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from ltu_jax.sharding import (
  from_local_rows,
  local_rows,
  micro_batch_sharding,
)


def feeds(
  mesh: Mesh, batch_sizes: Iterable[int], micro_batches: int
) -> dict[int, "Feed"]:
  """A feed for each number of rows that batches have; see `Feed`."""
  return {size: Feed(mesh, size, micro_batches) for size in batch_sizes}


class Feed:
  """Cuts batches into micro-batches, and their rows over data and fsdp.

  Attributes:
    places: which rows of each batch this host has to give, from 0.
  """

  def __init__(self, mesh: Mesh, batch_size: int, micro_batches: int = 1):
    """Finds out which rows this host's devices hold.

    Args:
      mesh: the mesh.
      batch_size: rows of a batch over all hosts.
      micro_batches: A.
    """
    self._sharding = micro_batch_sharding(mesh)
    self._shape = (micro_batches, batch_size // micro_batches)
    every = np.arange(batch_size).reshape(self._shape)
    self.places = every[:, local_rows(self._sharding, self._shape)].ravel()

  def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts a host's rows, those of `places`, on the devices: [A, B, ...]."""
    num_micro, num_rows = self._shape
    cut = lambda x: np.reshape(x, (num_micro, -1, *x.shape[1:]))
    return {
      key: from_local_rows(self._sharding, cut(value), num_rows)
      for key, value in batch.items()
    }
