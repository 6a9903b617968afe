"""The chips of Google's TPUs, and topologies of them without the hardware.

The numbers are those of Google Cloud's pages, docs.cloud.google.com/tpu/docs/:
v4, v5e, v5p, v6e and tpu7x. Where a page gives the interconnect in both
directions, it is halved here. The page of v4 gives none: its six links of
50 GB/s are of Jouppi et al., 2023 (arXiv 2304.01433).
"""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

GIB = 2**30


class TopologyError(ValueError):
  """A topology that cannot be had; the message says which can."""


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip.

  Attributes:
    hbm_bytes: capacity of its memory.
    flops: peak bf16 FLOP/s.
    hbm_bandwidth: bytes/s.
    ici_bandwidth: bytes/s to other chips of the slice, one direction, all links
      together.
    dcn_bandwidth: bytes/s to other slices; 0 where the page gives none.
    dims: dimensions of its torus.
    devices: JAX devices a chip.
    source: page of the numbers.
  """

  hbm_bytes: float
  flops: float
  hbm_bandwidth: float
  ici_bandwidth: float
  dcn_bandwidth: float
  dims: int
  devices: int
  source: str


CHIPS = {
  "v4": Chip(32 * GIB, 275e12, 1200e9, 300e9, 0, 3, 1, "v4; 2304.01433"),
  # A pod of 256 chips has 6.4 Tbit/s to the data center's network.
  "v5e": Chip(16 * GIB, 197e12, 819e9, 200e9, 3.125e9, 2, 1, "v5e"),
  "v5p": Chip(95 * GIB, 459e12, 2765e9, 600e9, 6.25e9, 3, 1, "v5p"),
  "v6e": Chip(32 * GIB, 918e12, 1638e9, 400e9, 12.5e9, 2, 1, "v6e"),
  "tpu7x": Chip(192 * GIB, 2307e12, 7380e9, 600e9, 12.5e9, 3, 2, "tpu7x"),
}
"""Name that the compiler knows -> chip."""

# Two cores that JAX sees as one device.
_MEGACORE = ("v4", "v5p")


@dataclasses.dataclass(frozen=True)
class Topology:
  """Slices of chips, such as v5e:4x4.

  Attributes:
    name: a key of CHIPS.
    shape: chips along each axis of a slice.
    slices: slices, joined by the data center's network.
  """

  name: str
  shape: tuple[int, ...]
  slices: int = 1

  @property
  def chip(self) -> Chip:
    """What it is made of."""
    return CHIPS[self.name]

  @property
  def num_chips(self) -> int:
    """Chips of all slices."""
    return math.prod(self.shape) * self.slices

  def __str__(self) -> str:
    """v5e:4x4, or 2 slices of v5e:4x4."""
    text = f"{self.name}:{'x'.join(map(str, self.shape))}"
    return text if self.slices == 1 else f"{self.slices} slices of {text}"


def parse(text: str, slices: int = 1) -> Topology:
  """Reads a topology.

  Args:
    text: such as "v5e:4x4"; chips along each axis.
    slices: number of slices.

  Raises:
    TopologyError: no such chip, or a shape of another number of axes.
  """
  known = ", ".join(
    f"{name}:{'x'.join('ABC'[: chip.dims])}" for name, chip in CHIPS.items()
  )
  found = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", text)
  if not found or found[1] not in CHIPS:
    raise TopologyError(
      f"--topology={text}: no such topology; there are {known}, such as v5e:4x4"
    )
  shape = tuple(map(int, found[2].split("x")))
  dims = CHIPS[found[1]].dims
  if len(shape) != dims or min(shape) < 1 or slices < 1:
    raise TopologyError(
      f"--topology={text}: {found[1]} has {dims} axes of one chip or more, and "
      f"there must be one slice or more; there are {known}"
    )
  return Topology(found[1], shape, slices)


def devices(topology: Topology) -> Sequence[jax.Device]:
  """The devices of a topology, for compilation alone; slice by slice.

  Raises:
    TopologyError: no libtpu, or a shape that it does not know.
  """
  options: dict[str, Any] = {}
  if topology.name in _MEGACORE:
    options["chip_config_name"] = "megacore"
  if topology.num_chips == topology.slices:
    # The default host has 2 x 2 chips.
    options["chips_per_host_bounds"] = [1, 1, 1]
  if topology.slices > 1:
    options["num_slices"] = topology.slices
  name = f"{topology.name}:{'x'.join(map(str, topology.shape))}"
  try:
    found = topologies.get_topology_desc(
      platform="tpu", topology_name=name, **options
    ).devices
  except (RuntimeError, NotImplementedError, ValueError) as error:
    reason = str(error).splitlines()[0]
    if "not installed" in reason:
      raise TopologyError(
        "no TPU compiler here: pip install -e '.[tpu]' brings libtpu, which "
        f"compiles on a machine without a TPU ({reason})"
      ) from error
    hint = ""
    if "divisible" in reason:
      hint = ". A host has 2x2 chips: axes are even, but for a single chip"
    raise TopologyError(f"--topology={name}: {reason}{hint}") from error
  return sorted(found, key=lambda d: (getattr(d, "slice_index", 0), d.id))
