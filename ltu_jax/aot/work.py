"""What a compiled program computes, read from its text.

FLOPs of its matrix products, for which a TPU's compiler has convolutions too,
and the cycles that this compiler thinks each instruction takes: its own model
of the chip, of which nothing is published. Waiting for collectives is not in
them. Loops count as in hlo.py.
"""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from ltu_jax.aot import hlo

SCOPES = (
  *("fbank", "encoder", "projector", "decoder", "attention", "loss", "update"),
)
"""Names (jax.named_scope) of a step's parts; the innermost counts."""

KINDS = ("forward", "recomputed", "backward")
"""What an instruction is for, as its name says."""

_DEFINED = re.compile(
  r"^\s+(?:ROOT )?%?([\w.\-]+) = [a-z]+\d*[a-z0-9]*\[([\d,]*)\]"
)
_PRODUCT = re.compile(r" (dot|convolution)\(%?([\w.\-]+), %?([\w.\-]+)\)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_NAME = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Work:
  """Work of one part of a program, on one device.

  Attributes:
    kind: one of KINDS.
    scope: one of SCOPES, or "other".
    flops: of matrix products, 2 a multiplication.
    cycles: by the compiler's estimate.
  """

  kind: str
  scope: str
  flops: float = 0
  cycles: float = 0


def work(text: str) -> list[Work]:
  """The parts of a compiled module that do something."""
  bodies, _ = hlo.computations(text)
  shapes: dict[str, dict[str, tuple[int, ...]]] = {}
  flops, cycles = defaultdict(int), defaultdict(int)
  for where, line, count, _, fused in hlo.instructions(text):
    if product := _PRODUCT.search(line):
      if where not in shapes:
        shapes[where] = _shapes(bodies[where])
      flops[_part(line)] += count * _flops(product, line, shapes[where])
    # A loop's cycles are those of its body, a fusion's stand at the fusion.
    estimate = None if fused or " while(" in line else _CYCLES.search(line)
    if estimate:
      cycles[_part(line)] += count * int(estimate[1])
  return [
    Work(*part, flops[part], cycles[part]) for part in sorted({*flops, *cycles})
  ]


def _part(line: str) -> tuple[str, str]:
  found = _NAME.search(line)
  name = found[1] if found else ""
  words = [w for w in re.findall(r"\w+", name) if w in SCOPES]
  if "rematted_computation" in name:
    kind = "recomputed"
  else:
    kind = "backward" if "transpose(" in name else "forward"
  return kind, words[-1] if words else "other"


def _shapes(lines: list[str]) -> dict[str, tuple[int, ...]]:
  """Name -> shape of what a computation defines."""
  found = filter(None, map(_DEFINED.match, lines))
  return {m[1]: tuple(int(d) for d in m[2].split(",") if d) for m in found}


def _flops(
  product: re.Match, line: str, shapes: Mapping[str, tuple[int, ...]]
) -> int:
  out = next(iter(_shapes([line]).values()))
  left, right = shapes[product[2]], shapes[product[3]]
  if product[1] == "dot":
    axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line)[1]
    inner = math.prod(left[int(axis)] for axis in axes.split(",") if axis)
    return 2 * inner * math.prod(out)
  labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", line)
  size = lambda which, label, shape: shape[labels[which].index(label)]
  flops = 2 * size(3, "b", out) * size(3, "f", out) * size(2, "i", right)
  for axis, window in enumerate(windows(line)):
    ends = size(1, str(axis), left), size(3, str(axis), out)
    flops *= pairs(*ends, *window)
  return flops


def windows(line: str) -> list[tuple[int, int, int, int, int]]:
  """Size, stride, padding before, and both dilations of each axis."""
  text = re.search(r"window=\{([^}]*)\}", line)
  fields = dict(re.findall(r"(\w+)=(\S+)", text[1])) if text else {}
  if "size" not in fields:
    return []
  sizes = fields["size"].split("x")
  of = lambda name, default: fields.get(
    name, "x".join([default] * len(sizes))
  ).split("x")
  columns = zip(
    sizes,
    of("stride", "1"),
    [pad.split("_")[0] for pad in of("pad", "0_0")],
    of("lhs_dilate", "1"),
    of("rhs_dilate", "1"),
    strict=True,
  )
  return [tuple(map(int, column)) for column in columns]


def pairs(
  inputs: int,
  outputs: int,
  size: int,
  stride: int,
  before: int,
  spread: int,
  step: int,
) -> int:
  """Multiplications along an axis: what meets padding or a hole is none."""
  at = np.arange(outputs)[:, None] * stride + np.arange(size) * step - before
  inside = (at >= 0) & (at <= (inputs - 1) * spread) & (at % spread == 0)
  return int(inside.sum())
