"""The table that a stage prints at its start: what is trained, what is not."""

import dataclasses
import math
from collections.abc import Sequence

import jax
from flax import nnx

from ltu_jax.sharding import path_name


@dataclasses.dataclass(frozen=True)
class ParameterRow:
  """A line of the start-up table.

  Attributes:
    group: Module group, such as "encoder".
    trainable: Whether this stage trains it.
    count: Number of parameters.
    num_bytes: Their size in all, over all devices, in bytes.
    dtype: Name of their dtype.
    sharding: How they lie on the mesh, as text.
  """

  group: str
  trainable: bool
  count: int
  num_bytes: int
  dtype: str
  sharding: str


def render(rows: Sequence[ParameterRow]) -> str:
  """Renders the start-up table, with totals of what is trained and frozen.

  Args:
    rows: In the order to show.

  Returns:
    Aligned text of several lines; no newline at the end.
  """
  cells = [("module", "", "parameters", "bytes", "dtype", "sharding")]
  for row in rows:
    kind = "trainable" if row.trainable else "frozen"
    cells.append(
      (
        row.group,
        kind,
        f"{row.count:,}",
        _size(row.num_bytes),
        row.dtype,
        row.sharding,
      )
    )
  for kind, trainable in (("trainable", True), ("frozen", False)):
    of_kind = [row for row in rows if row.trainable == trainable]
    count = sum(row.count for row in of_kind)
    num_bytes = sum(row.num_bytes for row in of_kind)
    cells.append(("total", kind, f"{count:,}", _size(num_bytes), "", ""))
  widths = [max(len(row[i]) for row in cells) for i in range(6)]
  lines = []
  for row in cells:
    aligned = [
      cell.rjust(width) if i in (2, 3) else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    lines.append("  ".join(aligned).rstrip())
  return "\n".join(lines)


def rows(trainable: nnx.State, frozen: nnx.State) -> list[ParameterRow]:
  """Returns the lines of the table: by module, adapters apart.

  Args:
    trainable: What the stage trains, on the mesh.
    frozen: The others.
  """
  groups: dict[tuple, list] = {}
  for part, is_trainable in ((trainable, True), (frozen, False)):
    for path, variable in nnx.to_flat_state(part):
      name, value = path_name(path), variable.get_value()
      kind = path[0] + (" lora" if "/lora_" in name else "")
      groups.setdefault((kind, is_trainable), []).append(value)
  lines = []
  for (kind, is_trainable), values in sorted(
    groups.items(), key=lambda item: (not item[0][1], item[0][0])
  ):
    axes = {a for v in values for a in v.sharding.spec if a is not None}
    lines.append(
      ParameterRow(
        kind,
        is_trainable,
        sum(math.prod(v.shape) for v in values),
        sum(_num_bytes(v) for v in values),
        "/".join(sorted({str(v.dtype) for v in values})),
        "over " + ", ".join(sorted(map(str, axes))) if axes else "replicated",
      )
    )
  return lines


def _num_bytes(value: jax.Array | jax.ShapeDtypeStruct) -> int:
  """Bytes of an array on an accelerator, where two int4 share one."""
  return math.prod(value.shape) * jax.dtypes.itemsize_bits(value.dtype) // 8


def _size(num_bytes: float) -> str:
  """Renders bytes with a decimal unit: 0 B, 1.5 kB, 13.5 GB."""
  for unit in ("B", "kB", "MB", "GB"):
    if num_bytes < 1000:
      return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
    num_bytes /= 1000
  return f"{num_bytes:.1f} TB"
