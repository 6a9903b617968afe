r"""What a device of a given speed would wait for data on this machine.

  python -m benchmarks.data_wait --data_dir=DIR --speeds 100 200 390
  python -m benchmarks.data_wait --data_dir=DIR --questions_per_row=8 \
    --row_tokens=432 --batch=48

DIR holds openaqa/mini built from the packages (it is built if it is missing).
Batches are made as in training, decoded and tokenized in threads, while a
played device takes the time that its speed asks for: it does nothing on the
CPU, so that all of this machine is the host's. The wait is measured as training
measures it (`ltu_jax/idle.py`). 390 questions a second are a v5e-16 host's that
trains LTU-7B at half of peak.
"""

import argparse
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Iterator

import ml_collections
import numpy as np

from configs import base
from ltu_jax import config as config_lib
from ltu_jax import idle, supply
from ltu_jax.workdir import Workdir

TOKENIZER = pathlib.Path("tests/golden/tiny_spm.model")


@dataclasses.dataclass
class Device:
  """Takes steps one after the other, each for so many seconds.

  Attributes:
    free: when it is done with all that it was given.
  """

  free: float = 0.0

  def is_ready(self) -> bool:
    """Whether it is done."""
    return time.monotonic() >= self.free

  def give(self, seconds: float) -> float:
    """Gives it a step; returns when the one before is done."""
    before = max(self.free, time.monotonic())
    self.free = before + seconds
    return before


@dataclasses.dataclass(frozen=True)
class Measured:
  """What came out.

  Attributes:
    speed: questions a second that the device could take.
    reached: that it took.
    wait: share of the time in which it had nothing to do.
    cores: CPU seconds of the host a second.
  """

  speed: float
  reached: float
  wait: float
  cores: float

  def line(self) -> str:
    """A row of the table."""
    return (
      f"| {self.speed:.0f} | {self.reached:.0f} | {self.wait:.1%} |"
      f" {self.cores:.2f} |"
    )


def count_questions(batch: dict[str, np.ndarray]) -> int:
  """Questions of a batch: the highest segment of each row."""
  return int(batch["segment_ids"].max(axis=-1).sum())


def play(
  batches: Iterator[dict[str, np.ndarray]], speed: float, seconds: float
) -> Measured:
  """Trains on a played device.

  Args:
    batches: what training reads.
    speed: questions a second.
    seconds: how long it is measured; a start is not.
  """
  device, questions, idled = Device(), 0, 0.0
  start = done = None
  given = count_questions(next(batches))
  device.give(given / speed)
  while start is None or done - start < seconds:
    with idle.wait(device) as waited:
      batch = next(batches)
    found = count_questions(batch)
    # Training reads the metrics of the step before, and so waits for it.
    done = device.give(found / speed)
    time.sleep(max(0.0, done - time.monotonic()))
    if start is None:
      start, cpu = done, time.process_time()
    else:
      questions += given
      idled += waited.idle
    given = found
  took = done - start
  return Measured(
    speed, questions / took, idled / took, (time.process_time() - cpu) / took
  )


def configured(args: argparse.Namespace) -> ml_collections.ConfigDict:
  """LTU-7B's config with the data of the arguments."""
  config = base.get_config()
  config.tokenizer.model = str(args.tokenizer)
  config.data.update(
    dir=args.data_dir,
    batch_size=args.batch,
    num_threads=args.threads,
    questions_per_row=args.questions_per_row,
    row_tokens=args.row_tokens,
  )
  return config


def parser() -> argparse.ArgumentParser:
  """The arguments."""
  made = argparse.ArgumentParser(description=__doc__)
  add = made.add_argument
  add("--data_dir", default="", help="TFDS's folder")
  add("--tokenizer", default=TOKENIZER, help="a SentencePiece model")
  add("--speeds", type=float, nargs="*", default=[100, 200, 390, 800])
  add("--batch", type=int, default=64, help="rows of a batch")
  add("--threads", type=int, default=8)
  add("--questions_per_row", type=int, default=1)
  add("--row_tokens", type=int, default=0)
  add("--seconds", type=float, default=20.0, help="for each speed")
  return made


def main() -> None:
  """Measures and prints the table."""
  args = parser().parse_args()
  config = configured(args)
  data = supply.open_supply(config)
  stage = config_lib.stages(config)[-1]
  print("| questions/s of the device | reached | it waits | host's cores |")
  print("| ---: | ---: | ---: | ---: |")
  with tempfile.TemporaryDirectory() as folder:
    workdir = Workdir(pathlib.Path(folder))
    tokenizer = data.tokenizer(workdir)
    data.measure(workdir, tokenizer)
    for speed in args.speeds:
      batches = iter(data.batches(stage, tokenizer, 32).dataset())
      print(play(batches, speed, args.seconds).line(), flush=True)


if __name__ == "__main__":
  main()
