"""Which collectives of a compiled program can run beside arithmetic.

A compiler for TPUs hides a collective in three ways, which its text shows: as a
pair of start and done; in fusions that do a part of it beside a product ("async
collective fusions"); or, product and collective in one, as a loop of permutes
("windowed einsum"). What has none of these marks stops the chip.
"""

import re
from collections import Counter

from ltu_jax.aot import hlo


def exposed(text: str) -> Counter[str]:
  """Collectives that stop the chip: kind and largest array -> how many.

  Args:
    text: A compiled module's.

  Returns:
    Such as {"all-reduce of 1.5 kB": 3}; each channel once, however often it
    runs.
  """
  hidden, seen = set(), {}
  bodies, _ = hlo.computations(text)
  for name, line in ((n, x) for n, lines in bodies.items() for x in lines):
    match = hlo.COLLECTIVE.search(line)
    if not match:
      continue
    channel = re.search(r"channel_id=(\d+)", line)
    key = match[2], channel[1] if channel else line
    seen[key] = max(hlo.shape_bytes(match[1]), default=0)
    marks = match[3], "async_collective" in name
    if any(marks) or "async_collective_name" in line:
      hidden.add(key)
  return Counter(
    f"{kind} of {size / 1000:.1f} kB"
    for (kind, channel), size in seen.items()
    if (kind, channel) not in hidden
  )
