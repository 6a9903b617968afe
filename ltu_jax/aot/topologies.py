"""The chips of Google's TPUs, and topologies of them without the hardware.

Memory and links are those of Google Cloud's pages, of which each chip names its
own: docs.cloud.google.com/tpu/docs/v5e and so on; peaks are in chips.py. The
pages give the interconnect of a chip in both directions; a link has half of it
over its number of links. The page of v4 gives none, but 1.1 PB/s of all-reduce
for a pod of 4096 chips, which is 45 GB/s for each of six links (with v5e and
v6e the same sum gives their links exactly). jax-ml.github.io/scaling-book/tpus
has 45 GB/s for v4 too, and 10 % less than the pages for the others; the data
center's network of v4 and tpu7x is from there.
"""

import dataclasses
import math
import os
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

from ltu_jax import chips

GIB = 2**30


class TopologyError(ValueError):
  """A topology that cannot be had; the message says which can."""


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip.

  Attributes:
    usable_bytes: what libtpu 0.0.42.1 lets a program have of a device's memory,
      as its out-of-memory errors say.
    hbm_bandwidth: bytes/s.
    link_bandwidth: bytes/s of one link to a neighbour, one direction.
    dcn_bandwidth: bytes/s to other slices.
    dims: dimensions of its torus; it has two links in each.
    ring: axes of such a length, or a multiple of it, are closed to a ring.
    source: page of the numbers, and its name in chips.py.
  """

  usable_bytes: float
  hbm_bandwidth: float
  link_bandwidth: float
  dcn_bandwidth: float
  dims: int
  ring: int
  source: str

  @property
  def flops(self) -> float:
    """Peak bf16 FLOP/s."""
    return chips.PEAK_FLOPS[self.source]

  @property
  def devices(self) -> int:
    """JAX devices a chip."""
    return chips.DEVICES.get(self.source, 1)


CHIPS = {
  # Of 32 GiB.
  "v4": Chip(30.75 * GIB, 1200e9, 45e9, 6.25e9, 3, 4, "v4"),
  # Of 16 GiB. A pod of 256 chips has 6.4 Tbit/s to the data center's network.
  "v5e": Chip(15.75 * GIB, 819e9, 50e9, 3.125e9, 2, 16, "v5e"),
  # Of 96 GiB.
  "v5p": Chip(95.74 * GIB, 2765e9, 100e9, 6.25e9, 3, 4, "v5p"),
  # Of 32 GiB.
  "v6e": Chip(31.25 * GIB, 1638e9, 100e9, 12.5e9, 2, 16, "v6e"),
  # Of 192 GiB, in halves.
  "tpu7x": Chip(94.75 * GIB, 7380e9, 100e9, 12.5e9, 3, 4, "tpu7x"),
}
"""Name that the compiler knows -> chip.

It also takes v2, v3 and v5 (v5p's other name), and of those that are later or
were guessed (v6p, v7, v7x, v7e, tpu7, tpu7e, tpu8, tpu8x, v8, v8x) none.
"""


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

  @property
  def num_devices(self) -> int:
    """JAX devices of all slices."""
    return self.num_chips * self.chip.devices

  @property
  def links(self) -> int:
    """Links inside the slice of the chip that has fewest, one in a corner.

    An axis of one chip has none, an open axis one, a ring two.
    """
    rings = [size % self.chip.ring == 0 for size in self.shape]
    return sum(
      1 + ring for size, ring in zip(self.shape, rings, strict=True) if size > 1
    )

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
  if topology.name == "v4":
    # As on a TPU VM: two cores that JAX sees as one device. Without it, two
    # devices of half the memory. The others have one way only.
    options["chip_config_name"] = "megacore"
  if topology.num_chips == topology.slices:
    # The default host has 2 x 2 chips.
    options["chips_per_host_bounds"] = [1, 1, 1]
  if topology.slices > 1:
    options["num_slices"] = topology.slices
  name = f"{topology.name}:{'x'.join(map(str, topology.shape))}"
  # The compiler is to look for no TPU, and nothing runs on one: so others may
  # compile at the same time.
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  try:
    found = topologies.get_topology_desc(
      platform="tpu", topology_name=name, **options
    ).devices
  except (RuntimeError, NotImplementedError, ValueError) as error:
    reason = str(error).splitlines()[0]
    if "not installed" in reason:
      raise TopologyError(
        "no TPU compiler here: pip install 'ltu-jax[aot]' brings libtpu, which "
        f"compiles on a machine without a TPU ({reason})"
      ) from error
    hint = ""
    if "divisible" in reason:
      hint = ". A host has 2x2 chips: axes are even, but for a single chip"
    raise TopologyError(f"--topology={name}: {reason}{hint}") from error
  return sorted(found, key=lambda d: (getattr(d, "slice_index", 0), d.id))
