"""Collectives of a compiled program, read from its text.

What stands in a loop's body counts as often as the loop turns: as the
compiler says, or as follows from what the condition compares the counter with
and what the body adds to it. Where neither can be read, the body counts once
and is said to be unknown.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

KINDS = (
  "all-gather",
  "all-reduce",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)

COLLECTIVE = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(-start)?\(")
"""Finds its result, its kind, and whether it is started alone, in a line."""

_BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "c64": 8, "c128": 16}
_SHAPE = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|branch_computations)=")


@dataclasses.dataclass(frozen=True)
class Collective:
  """One collective of a program.

  Attributes:
    kind: one of KINDS.
    result_bytes: size of its result on a chip.
    group: chips that take part in it together.
    count: how often it runs.
    known: False where it is in a loop of an unknown number of turns.
  """

  kind: str
  result_bytes: float
  group: int
  count: int
  known: bool

  @property
  def sent_bytes(self) -> float:
    """Bytes that a chip must send at least, over all runs.

    For n chips: a gather sends (n - 1) / n of its result, an all-reduce twice
    that, a reduce-scatter n - 1 results, a permute its result.
    """
    n = self.group
    share = {
      "all-gather": (n - 1) / n,
      "all-reduce": 2 * (n - 1) / n,
      "reduce-scatter": n - 1,
      "all-to-all": (n - 1) / n,
      "collective-permute": 1,
    }[self.kind]
    return share * self.result_bytes * self.count


def shape_bytes(text: str) -> list[float]:
  """Sizes of all arrays in a piece of HLO: "(f32[2,3], u8[])" -> [24, 1]."""
  sizes = []
  for dtype, dims in _SHAPE.findall(text):
    bits = re.search(r"\d+", dtype)
    if dtype not in _BYTES and not bits:
      continue
    width = _BYTES.get(dtype) or int(bits[0]) / 8
    sizes.append(width * math.prod(int(d) for d in dims.split(",") if d))
  return sizes


def collectives(text: str) -> list[Collective]:
  """Finds the collectives of a compiled module.

  A TPU's compiler spreads one collective over several fusions to overlap it
  with arithmetic; its channel is the same in all of them, and counts once.
  """
  found: dict[object, Collective] = {}
  for item in instructions(text):
    match = COLLECTIVE.search(item.line)
    if match:
      channel = re.search(r"channel_id=(\d+)", item.line)
      key = channel[1] if channel else (item.where, item.line)
      if key not in found or found[key].count > item.count:
        found[key] = _collective(match, item.line, item.count, item.known)
  return list(found.values())


class Instruction(NamedTuple):
  """One instruction of a program.

  Attributes:
    where: name of its computation.
    line: its text.
    count: how often it runs.
    known: False where it is in a loop of an unknown number of turns.
    fused: whether it is a part of a fusion.
  """

  where: str
  line: str
  count: int
  known: bool
  fused: bool


def instructions(text: str) -> Iterator[Instruction]:
  """All that a compiled module runs."""
  bodies, entry = computations(text)

  def walk(name, count, known, fused):
    for line in bodies.get(name, ()):
      yield Instruction(name, line, count, known, fused)
      times = _loop_turns(line, bodies) if " while(" in line else 1
      inside = fused or " fusion(" in line
      for called in _called(line):
        turns = count * (times or 1)
        yield from walk(called, turns, known and times is not None, inside)

  yield from walk(entry, 1, True, False)


def _loop_turns(line: str, bodies: dict[str, list[str]]) -> int | None:
  """Turns of a while instruction, or None."""
  told = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
  if told:
    return int(told[1])
  part = lambda name: bodies.get(
    re.search(rf"{name}=%?([\w.\-]+)", line)[1], []
  )
  return _turns(part("condition"), part("body"))


def computations(text: str) -> tuple[dict[str, list[str]], str]:
  """Name -> lines of every computation, and the entry's name."""
  bodies: dict[str, list[str]] = {}
  entry, lines = "", []
  for line in text.splitlines():
    head = _HEAD.match(line)
    if head:
      lines = bodies.setdefault(head[2], [])
      entry = head[2] if head[1] else entry
    elif line.startswith(" "):
      lines.append(line)
  return bodies, entry


def _called(line: str) -> Iterable[str]:
  """Names of the computations that an instruction runs."""
  for match in _CALLED.finditer(line):
    rest = line[match.end() :]
    inside = re.match(r"\{([^}]*)\}", rest)
    names = inside[1].split(",") if inside else [rest]
    for name in names:
      word = re.match(r"\s*%?([\w.\-]+)", name)
      if word:
        yield word[1]


def _turns(condition: list[str], body: list[str]) -> int | None:
  """Turns of a loop that counts from 0 to a constant, or None."""
  root = next((line for line in condition if "ROOT" in line), "")
  compared = re.search(r" compare\((.*?)\), direction=LT", root)
  if not compared:
    return None
  constants = _constants(condition)
  limits = [constants[n] for n in _names(compared[1]) if n in constants]
  indices = [
    int(index)
    for name, index in re.findall(
      r"%?([\w.\-]+) = \S+ get-tuple-element\(.*?index=(\d+)",
      "\n".join(condition),
    )
    if name in _names(compared[1])
  ]
  if len(limits) != 1 or len(indices) != 1:
    return None
  step = _step(body, indices[0])
  return math.ceil(limits[0] / step) if step else None


def _step(body: list[str], index: int) -> int | None:
  """What a turn adds to an element of the loop's state.

  Loops that a TPU's compiler makes of a product and its collective take two
  turns at once.
  """
  root = next((line for line in body if "ROOT" in line), "")
  found = re.search(r" tuple\((.*?)\)", root)
  names = _names(found[1]) if found else []
  if index >= len(names):
    return None
  name = re.escape(names[index])
  added = re.search(rf"%?{name} = .*? add\((.*?)\)", "\n".join(body))
  constants = _constants(body)
  if not added:
    return None
  steps = [constants[n] for n in _names(added[1]) if n in constants]
  return steps[0] if steps else None


def _constants(lines: list[str]) -> dict[str, int]:
  """Name -> value of a computation's integer constants."""
  found = re.findall(r"%?([\w.\-]+) = \S+ constant\((\d+)\)", "\n".join(lines))
  return {name: int(value) for name, value in found}


def _names(operands: str) -> list[str]:
  """Names in a list of operands."""
  return re.findall(r"%([\w.\-]+)", operands)


def _collective(match, line: str, count: int, known: bool) -> Collective:
  sizes = shape_bytes(match[1])
  kind = match[2]
  if match[3]:
    # Started collectives return (operand, result, flags ...).
    size = sizes[1] if len(sizes) > 1 else sum(sizes)
  else:
    size = sum(sizes)
  return Collective(kind, size, _group(line), count, known)


def _group(line: str) -> int:
  """Chips of the first replica group."""
  named = re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", line)
  if named:
    axes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
    return math.prod(int(axes[a]) for a in re.findall(r"'(\w+)'", named[2]))
  iota = re.search(r"replica_groups=\[(\d+),(\d+)\]", line)
  if iota:
    return int(iota[2])
  listed = re.search(r"replica_groups=\{\{([\d,]*)\}", line)
  return len(listed[1].split(",")) if listed else 1
