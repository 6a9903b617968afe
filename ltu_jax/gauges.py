"""What is measured while a stage trains: rates, times, and a trace."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import jax
from flax import nnx
from jax.sharding import Mesh

from ltu_jax import idle, throughput
from ltu_jax.aot import flops
from ltu_jax.models.ltu import LtuConfig, part_of
from ltu_jax.profiling import Profile
from ltu_jax.sharding import path_name
from ltu_jax.times import Times


def parts(trainable: nnx.State) -> frozenset[str]:
  """Which parts of the model are trained, by the parameters that are."""
  paths = [path_name(path) for path, _ in nnx.to_flat_state(trainable)]
  return frozenset(part_of(path) for path in paths)


def step_flops(
  cfg: LtuConfig, trained: frozenset[str], batch: Mapping[str, jax.Array]
) -> float:
  """Model FLOPs of a step, over all devices; padding counts.

  Args:
    cfg: the model.
    trained: the parts that are.
    batch: of the step, [A, B, ...], with `pcm` if it hears.
  """
  micro_batches, rows, text = batch["tokens"].shape
  row = flops.train_row(cfg, text, trained, audio="pcm" in batch)
  return float(row.model * micro_batches * rows)


class Gauges:
  """The instruments of one stage; the loop says what it does.

  Attributes:
    times: where the wall time goes.
  """

  def __init__(
    self,
    times: Times,
    profile: Profile,
    mesh: Mesh,
    stage: int,
    work: Callable[[Mapping[str, jax.Array]], float],
  ):
    """Gets ready.

    Args:
      times: of this start.
      profile: of this start.
      mesh: that trains.
      stage: number of the stage.
      work: model FLOPs of the step of a batch.
    """
    self.times, self._profile, self._stage = times, profile, stage
    self._devices = mesh.local_devices
    self._throughput = throughput.Throughput(devices=list(mesh.devices.flat))
    self._work, self._at_work = work, {}
    self._shapes: set[tuple[int, ...]] = set()

  @contextlib.contextmanager
  def loop(self, done: int, last_step: int) -> Iterator[None]:
    """The steps of the stage; no trace stays open after them.

    Args:
      done: steps that are done.
      last_step: the stage's last.
    """
    self.times.at(done, now=True)
    self._profile.begin(self._stage, done, last_step)
    with self.times.spent("steps"):
      try:
        yield
      finally:
        with self.times.spent("profile"):
          self._profile.stop()

  @contextlib.contextmanager
  def step(
    self, number: int, before: Mapping[str, jax.Array] | None
  ) -> Iterator[None]:
    """Getting a step's batch, and giving the step to the devices.

    Args:
      number: of the step, from 1.
      before: what the devices are still at, if anything.
    """
    if self._profile.starts(self._stage, number):
      with self.times.spent("profile"):
        jax.block_until_ready(before)  # whole steps alone are traced
        self._profile.start()
    with self._profile.step(number):
      yield

  @contextlib.contextmanager
  def waiting(self, before: Mapping[str, jax.Array] | None) -> Iterator[None]:
    """Waiting for a batch, while the devices may still be at a step."""
    result = before["loss"] if before else None
    with self.times.spent("data"), idle.wait(result) as wait:
      yield
    self.times.move(wait.seconds - wait.idle, "data")
    self._throughput.wait(wait.idle)

  @contextlib.contextmanager
  def calling(
    self, number: int, batch: Mapping[str, jax.Array]
  ) -> Iterator[None]:
    """Calling the step; the first call with batches of a shape compiles it.

    Args:
      number: of the step.
      batch: what it is called with.
    """
    shape = batch["tokens"].shape
    self._at_work[number] = self._work(batch)
    with self.times.spent("steps" if shape in self._shapes else "compile"):
      yield
    self._shapes.add(shape)

  def called(self, number: int, values: Mapping[str, jax.Array]) -> None:
    """The devices have a step; its trace ends when they are done.

    Args:
      number: of the step.
      values: its metrics.
    """
    if self._profile.ends(number):
      jax.block_until_ready(values)
      with self.times.spent("profile"):
        self._profile.stop()

  def done(self, step: int, values: Mapping[str, float]) -> None:
    """A step is done.

    Args:
      step: its number.
      values: its metrics.
    """
    counts = (values["questions"], values["tokens"], self._at_work.pop(step))
    self._throughput.add(*counts)
    self.times.at(step)

  def read(self) -> dict[str, float]:
    """Rates since the last read, and memory in use; see throughput.py."""
    return self._throughput.read() | throughput.memory(self._devices)

  @contextlib.contextmanager
  def saving(self, step: int) -> Iterator[None]:
    """Waiting for checkpoints, after so many steps."""
    self.times.at(step, now=True)  # a later start may go on from here
    with self.times.spent("save"):
      yield
