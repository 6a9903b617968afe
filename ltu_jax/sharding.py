"""The device mesh, and the one table that lays weights and batches over it.

Weights name their axes logically ("embed", "heads", ...); RULES says which mesh
axis each logical axis is cut along. Change the table and the whole model moves.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

MESH_AXES = ("data", "fsdp", "tensor")

RULES: Mapping[str, str | tuple[str, ...] | None] = {
  "batch": ("data", "fsdp"),
  "embed": "fsdp",
  "vocab": "tensor",
  "heads": "tensor",
  "kv_heads": "tensor",
  "mlp": "tensor",
  "audio_embed": "fsdp",
  "audio_heads": "tensor",
  "audio_mlp": "tensor",
  "layers": None,
  "head_dim": None,
  "qkv": None,
  "rank": None,
  "patch": None,
  "position": None,
  "norm": None,
}
"""Logical axis -> mesh axis (or axes, or None for replicated)."""


class ShardingError(ValueError):
  """A weight that no rule covers, or that the mesh cannot divide."""


def make_mesh(
  shape: Mapping[str, int], devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """Makes the ("data", "fsdp", "tensor") mesh.

  On several TPU slices the data axis goes over them, its slowest part: what
  crosses the network between slices is then the gradients alone.

  Args:
    shape: size of each axis; a missing axis is 1 and one axis may be -1, which
      takes the devices that are left.
    devices: devices to use; all of them by default.

  Returns:
    A mesh whose axes are Auto, so that the compiler places collectives.

  Raises:
    ShardingError: an unknown axis, a product that is not the device count, or
      a data axis that the slices do not divide.
  """
  devices = list(devices if devices is not None else jax.devices())
  if unknown := set(shape) - set(MESH_AXES):
    raise ShardingError(
      f"mesh: unknown axes {sorted(unknown)}; there are {MESH_AXES}"
    )
  sizes = [int(shape.get(name, 1)) for name in MESH_AXES]
  if sizes.count(-1) > 1:
    raise ShardingError(f"mesh {dict(shape)}: only one axis may be -1")
  if -1 in sizes:
    rest = math.prod(s for s in sizes if s != -1) or 1
    sizes[sizes.index(-1)] = max(1, len(devices) // rest)
  if min(sizes) < 1 or math.prod(sizes) != len(devices):
    raise ShardingError(
      f"mesh {dict(zip(MESH_AXES, sizes, strict=True))} needs "
      f"{math.prod(sizes)} devices, but there are {len(devices)}; set "
      f"config.mesh so that the product is {len(devices)} (one axis may be -1)"
    )
  slices = _by_slice(devices)
  if sizes[0] % len(slices):
    raise ShardingError(
      f"mesh {dict(zip(MESH_AXES, sizes, strict=True))}: the data axis goes "
      f"over the {len(slices)} slices; make it a multiple of {len(slices)}"
    )
  sizes[0] //= len(slices)
  # Each slice by itself: make_mesh lays axes along its links.
  parts = [jax.make_mesh(sizes, MESH_AXES, devices=part) for part in slices]
  grid = np.concatenate([part.devices for part in parts])
  return Mesh(grid, MESH_AXES, axis_types=(AxisType.Auto,) * 3)


def _by_slice(devices: Sequence[jax.Device]) -> list[list[jax.Device]]:
  """Devices of each TPU slice; others are all of one."""
  found: dict[int, list[jax.Device]] = {}
  for device in devices:
    # GPUs have an index, too, of their host; one slice to compile for has none.
    is_tpu = device.platform == "tpu"
    index = getattr(device, "slice_index", 0) if is_tpu else 0
    found.setdefault(index, []).append(device)
  return [found[index] for index in sorted(found)]


def spec_of(axes: Sequence[str | None], name: str = "") -> PartitionSpec:
  """Maps logical axes to a PartitionSpec through RULES.

  Raises:
    ShardingError: an axis that RULES does not know; `name` says whose it is.
  """
  for axis in axes:
    if axis is not None and axis not in RULES:
      raise ShardingError(
        f"parameter {name!r}: logical axis {axis!r} has no rule in "
        f"ltu_jax/sharding.py; add it to RULES"
      )
  return PartitionSpec(*(None if a is None else RULES[a] for a in axes))


def _mesh_that_works(
  cuts: Sequence[tuple[tuple[int, ...], PartitionSpec]], mesh: Mesh
) -> dict[str, int]:
  """The nearest mesh of as many devices that divides every parameter."""
  whole = math.prod(mesh.shape.values())
  sizes = lambda axis: [
    dim
    for shape, spec in cuts
    for dim, cut in zip(shape, spec, strict=True)
    if cut == axis
  ]
  tensor = math.gcd(mesh.shape["tensor"], *sizes("tensor"))
  fsdp = math.gcd(whole // tensor, *sizes("fsdp"))
  return {"data": whole // tensor // fsdp, "fsdp": fsdp, "tensor": tensor}


@dataclasses.dataclass(frozen=True)
class Misfit:
  """A dimension of a parameter that the mesh cannot divide.

  Attributes:
    name: the parameter.
    shape: its shape.
    axis: the logical axis of the dimension.
    size: of the dimension.
    mesh_axes: the mesh axes that cut it.
    parts: into which they cut it.
    fits: a mesh of as many devices that divides every parameter.
  """

  name: str
  shape: tuple[int, ...]
  axis: str
  size: int
  mesh_axes: tuple[str, ...]
  parts: int
  fits: dict[str, int]

  def __str__(self) -> str:
    """What is wrong, and what would do."""
    return (
      f"parameter {self.name!r} of shape {self.shape}: size {self.size} does "
      f"not divide into {self.parts} parts of mesh axis "
      f"{'*'.join(self.mesh_axes)}; this mesh of as many devices fits the "
      f"model: {self.fits}"
    )


def path_name(path: Sequence[Any]) -> str:
  """Joins a path of `nnx.to_flat_state` to the name that regexes see."""
  return "/".join(map(str, path))


def _axes(state: nnx.State) -> list[tuple[str, tuple[int, ...], tuple]]:
  """Name, shape and logical axes of every parameter."""
  found = []
  for path, variable in nnx.to_flat_state(state):
    name, value = path_name(path), variable.get_value()
    axes = variable.get_metadata().get("out_sharding")
    if axes is None or len(axes) != len(value.shape):
      raise ShardingError(
        f"parameter {name!r} of shape {value.shape} names axes {axes}; give it "
        "one logical axis per dimension (out_sharding=...)"
      )
    found.append((name, value.shape, axes))
  return found


def misfits(state: nnx.State, mesh: Mesh) -> list[Misfit]:
  """All dimensions of an abstract state that the mesh cannot divide.

  Raises:
    ShardingError: a parameter without axes, or an axis without a rule.
  """
  named = _axes(state)
  cuts = [(shape, spec_of(axes, name)) for name, shape, axes in named]
  found = []
  for (name, shape, axes), (_, spec) in zip(named, cuts, strict=True):
    for axis, size, cut in zip(axes, shape, spec, strict=True):
      mesh_axes = (cut,) if isinstance(cut, str) else (cut or ())
      parts = math.prod(mesh.shape[a] for a in mesh_axes)
      if size % parts:
        fits = _mesh_that_works(cuts, mesh)
        found.append(Misfit(name, shape, axis, size, mesh_axes, parts, fits))
  return found


def abstract_with_sharding(state: nnx.State, mesh: Mesh) -> nnx.State:
  """Gives every leaf of an abstract state its sharding on the mesh.

  Args:
    state: `nnx.State` of arrays or ShapeDtypeStructs whose variables carry
      `out_sharding` (logical axes).
    mesh: the mesh.

  Returns:
    The same state with `jax.ShapeDtypeStruct(shape, dtype, sharding)` leaves.

  Raises:
    ShardingError: see `misfits`; also a dimension that does not divide.
  """
  for misfit in misfits(state, mesh):
    raise ShardingError(str(misfit))
  flat = []
  named = zip(nnx.to_flat_state(state), _axes(state), strict=True)
  for (path, variable), (name, shape, axes) in named:
    sharding = NamedSharding(mesh, spec_of(axes, name))
    dtype = variable.get_value().dtype
    struct = jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
    flat.append((path, variable.replace(struct)))
  return nnx.from_flat_state(flat)


def shardings(tree: Any) -> Any:
  """The sharding of every leaf of a tree of arrays or ShapeDtypeStructs."""
  return jax.tree.map(lambda x: x.sharding, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Rows of a batch are cut along the data and fsdp axes."""
  return NamedSharding(mesh, spec_of(("batch",)))


def micro_batch_sharding(mesh: Mesh) -> NamedSharding:
  """The same for [A, B, ...]: micro-batches, which are not cut, of rows."""
  return NamedSharding(mesh, PartitionSpec(None, *batch_sharding(mesh).spec))


def local_rows(sharding: NamedSharding, shape: tuple[int, int]) -> list[int]:
  """The columns of [A, B] that this process's devices hold, in order.

  Args:
    sharding: cuts the second axis, if any.
    shape: A, B.
  """
  found: set[int] = set()
  for index in sharding.addressable_devices_indices_map(shape).values():
    found |= set(range(shape[1])[index[1]])
  return sorted(found)


def from_local_rows(
  sharding: NamedSharding, local: np.ndarray, num_rows: int
) -> jax.Array:
  """Puts each process's rows together to one array over all devices.

  Args:
    sharding: cuts the second axis, if any.
    local: [A, b, ...], b rows of this process, those of `local_rows`. Processes
      that hold the same rows give the same.
    num_rows: B of all processes.

  Returns:
    [A, B, ...].
  """
  shape = (local.shape[0], num_rows, *local.shape[2:])
  rows = np.array(local_rows(sharding, shape[:2]))

  def piece(index):
    wanted = np.arange(num_rows)[index[1]]
    return local[:, np.searchsorted(rows, wanted)]

  return jax.make_array_from_callback(shape, sharding, piece)


def constrain(x: jax.Array, *axes: str | None) -> jax.Array:
  """Pins an activation's layout by logical axes; no-op outside a mesh."""
  if jax.sharding.get_abstract_mesh().empty:
    return x
  return jax.lax.with_sharding_constraint(x, spec_of(axes))
