"""How long a build takes and what it costs, from what was measured."""

import dataclasses

GB = 10**9

BYTES_PER_CLIP = 132_000
"""A record of a 10 s clip: 2.50 GB of 18,885 (tfds_builders/openaqa/README.md,
Scale). Dense sound takes up to MOST_BYTES_PER_CLIP (the same)."""

MOST_BYTES_PER_CLIP = 200_000

CPU_SECONDS_PER_CLIP = 0.0076
"""Finding, decoding, resampling and encoding a 10 s clip: 144 s for 18,885 (the
same; benchmarks/README.md, OpenAQA at full size)."""

TFIO_CPU_SECONDS_PER_CLIP = 0.235
"""The same with tensorflow-io, at 44.1 kHz (benchmarks/README.md, OpenAQA at
full size); at 16 kHz it is less."""

CPU_SECONDS_PER_QUESTION = 109 / 5_681_708
"""The first pass, which one process makes (the same page, Scale)."""

BYTES_PER_QUESTION = 43_000_000 / 5_681_708
"""Of the question index (the same)."""


@dataclasses.dataclass(frozen=True)
class Estimate:
  """What a build takes; without reading from disk or network.

  Attributes:
    first_seconds: The first pass, on one core.
    core_seconds: CPU of the shards.
    wall_seconds: Both, the shards on all cores.
    stored_bytes: The data set.
    most_bytes: The data set, if all sounds are dense.
  """

  first_seconds: float
  core_seconds: float
  wall_seconds: float
  stored_bytes: float
  most_bytes: float

  def lines(
    self,
    price_core_hour: float | None,
    price_gb_month: float | None,
    cores: int,
  ) -> list[str]:
    """The estimate in words; costs only where a price is given.

    Args:
      price_core_hour: Of one core for an hour; all cores are paid all the time.
      price_gb_month: Of 10^9 bytes in the bucket for a month.
      cores: That work.
    """
    found = [
      f"first pass: {self.first_seconds / 60:.0f} min on one core",
      f"shards: {self.core_seconds / 3600:.1f} core hours",
      f"in all: {self.wall_seconds / 60:.0f} min on {cores} cores, if disk or"
      " network keep up",
      f"data set: {self.stored_bytes / GB:.0f} GB, at most"
      f" {self.most_bytes / GB:.0f}",
    ]
    if price_core_hour is not None:
      cost = self.wall_seconds / 3600 * cores * price_core_hour
      found.append(f"machine: {cost:.2f}")
    if price_gb_month is not None:
      costs = [
        size / GB * price_gb_month
        for size in (self.stored_bytes, self.most_bytes)
      ]
      found.append(f"bucket, a month: {costs[0]:.2f}, at most {costs[1]:.2f}")
    return found


def estimate(
  clips: int, questions: int, cores: int, decoder: str = "soundfile"
) -> Estimate:
  """Scales what was measured.

  Args:
    clips: Sounds of about 10 s that are there.
    questions: On them.
    cores: That work.
    decoder: soundfile or tfio.
  """
  cpu = CPU_SECONDS_PER_CLIP
  if decoder == "tfio":
    cpu = TFIO_CPU_SECONDS_PER_CLIP
  first, shards = questions * CPU_SECONDS_PER_QUESTION, clips * cpu
  index = questions * BYTES_PER_QUESTION
  return Estimate(
    first,
    shards,
    first + shards / cores,
    clips * BYTES_PER_CLIP + index,
    clips * MOST_BYTES_PER_CLIP + index,
  )
