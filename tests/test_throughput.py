"""Rates, with a clock, devices and waits of which every second is known."""

import dataclasses
import time

import numpy as np
import pytest

from ltu_jax import chips, gauges, idle
from ltu_jax.aot import flops
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.throughput import Throughput, memory
from ltu_jax.train_state import split_params

GIB = 2**30


@dataclasses.dataclass
class Device:
  device_kind: str
  stats: dict | None = None

  def memory_stats(self):
    return self.stats


class Clock:
  def __init__(self):
    self.now = 0.0

  def __call__(self):
    return self.now


def test_rates_since_the_last_look():
  clock = Clock()
  measured = Throughput(clock)
  for _ in range(4):
    clock.now += 2.0
    measured.wait(0.5)
    measured.add(32)
  assert measured.read() == {
    "questions_per_second": 16.0,
    "seconds_per_step": 2.0,
    "data_wait": 0.25,
  }
  clock.now += 1.0
  measured.add(10)
  assert measured.read()["questions_per_second"] == 10.0


def of_a_chip(kind, count):
  """Two steps of 1e15 FLOPs and 6000 tokens in 5 s."""
  clock = Clock()
  devices = [Device(kind)] * count
  measured = Throughput(clock, devices=devices)
  for _ in range(2):
    clock.now += 2.5
    measured.add(1, 6000, 1e15)
  values = measured.read()
  return values["tokens_per_second_per_chip"], values.get("mfu")


def test_share_of_the_peak():
  # 4e14 FLOP/s of 4 times 197e12.
  assert of_a_chip("TPU v5 lite", 4) == (600, pytest.approx(4e14 / 788e12))
  # Two devices are one chip of 2307e12.
  assert of_a_chip("TPU7x", 4) == (1200, pytest.approx(4e14 / 4614e12))
  assert of_a_chip("NVIDIA H200", 1) == (2400, pytest.approx(4e14 / 989.5e12))


@pytest.mark.parametrize(
  "kind", ["cpu", "TPU v9", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", ""]
)
def test_a_chip_that_is_not_known_has_no_share(kind):
  assert of_a_chip(kind, 2) == (1200, None)
  assert chips.peak_flops(kind) is None


def test_memory_is_that_of_the_fullest_device():
  stats = [
    {"bytes_in_use": n * GIB, "peak_bytes_in_use": (9 - n) * GIB, "x": 1}
    for n in (2, 5)
  ]
  devices = [Device("TPU v4", s) for s in stats]
  assert memory(devices) == {"memory_gib": 5.0, "memory_peak_gib": 7.0}
  assert memory([Device("cpu")]) == {}
  assert memory([Device("x", {"bytes_in_use": GIB})]) == {"memory_gib": 1.0}


@pytest.mark.parametrize(
  "trainable, hears, want",
  [
    (("^encoder/", "^projector/", "lora_"), True, {}),
    (("^llama/(?!.*lora)",), False, {"trained": ("llama",), "audio": False}),
  ],
)
def test_work_is_that_of_the_batch(trainable, hears, want):
  """Two micro-batches of three rows, of so many tokens as they have."""
  cfg = LtuConfig()  # by shapes alone
  trained, _ = split_params(abstract(cfg)[1], trainable)
  batch = {"tokens": np.zeros((2, 3, 50))} | ({"pcm": 0} if hears else {})
  want = {"trained": ("encoder", "projector", "lora"), "audio": True} | want
  row = flops.train_row(cfg, 50, **want).model
  assert gauges.step_flops(cfg, gauges.parts(trained), batch) == 6 * row


class Step:
  """A step of the devices that is done at some time."""

  def __init__(self, clock, end):
    self.clock, self.end, self.looked = clock, end, False

  def is_ready(self):
    ready = self.clock() >= self.end
    self.looked |= ready
    return ready


@pytest.mark.parametrize(
  "end, lost",
  # The host waits from 0 to 10.
  [(None, 10), (-1, 10), (0, 10), (7, 3), (11, 0)],
)
def test_only_what_the_devices_wait_is_lost(end, lost):
  clock = Clock()
  step = None if end is None else Step(clock, end)
  with idle.wait(step, clock) as wait:
    for _ in range(10):
      clock.now += 1.0
      while step and clock.now >= end and not step.looked:
        time.sleep(0.001)  # the watcher comes to look
  assert (wait.seconds, wait.idle) == (10, lost)


def test_a_failed_wait_is_over():
  with pytest.raises(KeyError), idle.wait(Step(Clock(), 1)):
    raise KeyError
