"""The mesh to answer on, from the text of a command line."""

import math
import re

import jax
from jax.sharding import Mesh

from ltu_jax.sharding import MESH_AXES, ShardingError, make_mesh


def answering_mesh(text: str) -> Mesh:
  """Makes a mesh over this process's devices.

  Args:
    text: Sizes of axes, such as "tensor=2,fsdp=4". An axis that is not named
      is 1; one size may be -1, which takes the devices that are left. "" is the
      first device alone.

  Raises:
    ShardingError: Another form, an unknown axis or one that is named twice, or
      a product that is not the number of devices.
  """
  devices = jax.local_devices()
  if not text:
    return make_mesh({}, devices[:1])
  shape: dict[str, int] = {}
  for part in text.split(","):
    match = re.fullmatch(r"([a-z]+)=(-1|[1-9]\d{0,5})", part.strip())
    if not match or match[1] not in MESH_AXES or match[1] in shape:
      raise ShardingError(
        f"mesh {text!r}: {part.strip()!r} is not one of the axes "
        f"{', '.join(MESH_AXES)}, each named once with its size, such as "
        "tensor=2,fsdp=4"
      )
    shape[match[1]] = int(match[2])
  sizes = list(shape.values())
  fixed = math.prod(size for size in sizes if size != -1)
  num = len(devices)
  if sizes.count(-1) > 1:
    raise ShardingError(f"mesh {text!r}: only one size may be -1")
  if -1 in sizes and num % fixed:
    raise ShardingError(
      f"mesh {text!r}: the {num} devices here do not divide by {fixed}"
    )
  if -1 not in sizes and num != fixed:
    raise ShardingError(
      f"mesh {text!r} is of {fixed} devices, but there are {num} here; choose "
      f"sizes whose product is {num} (one may be -1, for what is left)"
    )
  return make_mesh(shape, devices)
