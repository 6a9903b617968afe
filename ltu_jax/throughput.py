"""How fast a stage trains: rates since the last look, and memory in use.

All of it is of the wall time, with everything that happened in it: what is
compiled, saved or evaluated in between makes these rates lower.
"""

import time
from collections.abc import Callable, Sequence

import jax

from ltu_jax import chips


class Throughput:
  """Measures rates, the share of the chips' peak and of time without data."""

  def __init__(
    self,
    clock: Callable[[], float] = time.perf_counter,
    *,
    devices: Sequence[jax.Device] = (),
  ):
    """Starts the first interval.

    Args:
      clock: Returns seconds; for tests.
      devices: The mesh's, all of a kind; none leaves out what is of a chip.
    """
    self._clock = clock
    kind = devices[0].device_kind if len(devices) else ""
    self._chips = len(devices) / chips.devices_per_chip(kind)
    self._peak = (chips.peak_flops(kind) or 0.0) * len(devices)
    self._reset()

  def _reset(self) -> None:
    """Starts an interval."""
    self._start = self._clock()
    self._waited = 0.0
    self._steps = 0
    self._questions = self._tokens = self._flops = 0.0

  def wait(self, seconds: float) -> None:
    """Counts seconds in which the devices waited for data."""
    self._waited += seconds

  def add(
    self, questions: float, tokens: float = 0.0, flops: float = 0.0
  ) -> None:
    """Counts one finished step.

    Args:
      questions: Of its batch.
      tokens: Of these; see train_step.useful.
      flops: Model FLOPs of it, over all devices.
    """
    self._steps += 1
    self._questions += questions
    self._tokens += tokens
    self._flops += flops

  def read(self) -> dict[str, float]:
    """Ends an interval and starts the next.

    Returns:
      Since the last read: "questions_per_second", "seconds_per_step",
      "data_wait" (a share, 0 to 1); with devices
      "tokens_per_second_per_chip"; and on chips whose peak is known "mfu", the
      steps' model FLOPs over what they could have computed.
    """
    seconds = max(self._clock() - self._start, 1e-9)
    values = {
      "questions_per_second": self._questions / seconds,
      "seconds_per_step": seconds / max(self._steps, 1),
      "data_wait": self._waited / seconds,
    }
    if self._chips:
      rate = self._tokens / seconds / self._chips
      values["tokens_per_second_per_chip"] = rate
    if self._flops and self._peak:
      values["mfu"] = self._flops / (seconds * self._peak)
    self._reset()
    return values


def memory(devices: Sequence[jax.Device]) -> dict[str, float]:
  """Memory of the fullest of some devices.

  Args:
    devices: Of this process.

  Returns:
    "memory_gib" in use now, and "memory_peak_gib", the most since the start;
    nothing where the devices do not say, as CPUs.
  """
  known = [stats for d in devices if (stats := d.memory_stats())]
  values = {}
  for name, key in (
    ("memory_gib", "bytes_in_use"),
    ("memory_peak_gib", "peak_bytes_in_use"),
  ):
    if sizes := [stats[key] for stats in known if key in stats]:
      values[name] = max(sizes) / 2**30
  return values
