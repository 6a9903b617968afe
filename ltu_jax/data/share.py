"""One host's share of a stream of batches: the rows that its devices hold.

How a batch is cut over devices may let two hosts hold the same rows (an axis
"tensor" that reaches over both), or a host rows that do not lie side by side.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence

import grain

Places = Sequence[int] | Mapping[int, Sequence[int]] | None
"""Which rows of a batch a host takes, from 0; None for all of them.

Where batches have different numbers of rows: number -> places."""


def dataset(
  rows: grain.MapDataset,
  places: Places,
  batch_size: int,
  num_threads: int,
) -> grain.IterDataset:
  """Returns the batches of one host.

  Args:
    rows: The rows of all hosts, without end.
    places: Which rows of each batch the host takes, from 0; None for all.
    batch_size: Rows of a batch over all hosts.
    num_threads: Threads that each make a batch ahead; 0 makes them when asked.

  Raises:
    ValueError: If there are no places, or some are not of the batch.
  """
  places = checked(places, batch_size)
  picked = grain.MapDataset.source(_Share(rows, places, batch_size))
  return ahead(picked.batch(len(places)), num_threads)


def ahead(batches: grain.MapDataset, num_threads: int) -> grain.IterDataset:
  """Returns batches, made ahead in threads; 0 makes them when asked."""
  return batches.to_iter_dataset(
    grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
  )


def endless() -> grain.MapDataset:
  """Returns 0, 1, 2, ... without end."""
  return grain.MapDataset.range(sys.maxsize)


def checked(places: Places, batch_size: int) -> list[int]:
  """Places of a host in a batch; all of them for None.

  Raises:
    ValueError: If there are none, or some are not of the batch.
  """
  if places is None:
    return list(range(batch_size))
  if isinstance(places, Mapping):
    places = places[batch_size]
  places = [int(place) for place in places]
  if not places or min(places) < 0 or max(places) >= batch_size:
    raise ValueError(
      f"a host cannot take the rows {places} of a batch of"
      f" {batch_size} rows, 0 to {batch_size - 1}"
    )
  return places


@dataclasses.dataclass(frozen=True)
class _Share:
  """The rows of one host, batch after batch, picked from those of all.

  Attributes:
    rows: The rows of all hosts, without end.
    places: The host's places in a batch.
    batch_size: Rows of a batch over all hosts.
  """

  rows: grain.MapDataset
  places: Sequence[int]
  batch_size: int

  def __len__(self) -> int:
    """As many as there can be: the rows have no end."""
    return sys.maxsize // self.batch_size

  def __getitem__(self, index: int) -> dict:
    """A row by its number among the host's."""
    batch, place = divmod(int(index), len(self.places))
    return self.rows[batch * self.batch_size + self.places[place]]
