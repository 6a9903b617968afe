r"""Where the quickstart's time goes: input, filter banks, the training step.

  python -m benchmarks.quickstart_cost \
    --tokenizer=runs/quickstart/tokenizer.model

Prints the CPU time of each part for one question, and its share of the whole.
CPU time is of all threads, so it holds on a machine that does other work too;
compare the shares, not the milliseconds.
"""

import argparse
import time
from collections.abc import Callable

import jax
import numpy as np

from configs import quickstart
from ltu_jax import config as config_lib
from ltu_jax import optim
from ltu_jax.audio.fbank import log_mel
from ltu_jax.data.openaqa import Batches
from ltu_jax.data.prepare import open_splits
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.models.ltu import abstract
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import init_params, new_state, split_params
from ltu_jax.train_step import make_train_step


def cpu_ms(work: Callable[[], object], rounds: int) -> float:
  """CPU milliseconds of one call, median over rounds, after one call."""
  jax.block_until_ready(work())
  times = []
  for _ in range(rounds):
    start = time.process_time()
    jax.block_until_ready(work())
    times.append(1e3 * (time.process_time() - start))
  return float(np.median(times))


def train_step_work(config, cfg, batch) -> Callable[[], object]:
  """A call that trains one step of stage 2, the longest, on the batch."""
  mesh = make_mesh({}, jax.devices()[:1])
  params = init_params(cfg, mesh, jax.random.key(0))
  graphdef, _ = abstract(cfg)
  stage = next(s for s in config_lib.stages(config) if s.number == 2)
  trainable, frozen = split_params(params, stage.trainable)
  step = make_train_step(
    graphdef, trainable, frozen, mesh, augment=config_lib.augment(config)
  )
  box = [new_state(trainable, jax.random.key(1), mesh)]
  batch = jax.tree.map(lambda x: x[None], batch)

  def work():
    box[0], metrics = step(box[0], frozen, batch, optim.Schedule(1e-3, 1, 9))
    return metrics

  return work


def main() -> None:
  """Measures and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--data_dir", default="", help="TFDS's folder")
  parser.add_argument("--tokenizer", required=True, help="tokenizer.model")
  parser.add_argument("--rounds", type=int, default=10)
  args = parser.parse_args()
  config = quickstart.get_config()
  config.data.dir = args.data_dir
  train_set, _ = open_splits(config.data)
  tokenizer = SentencePieceTokenizer(args.tokenizer)
  cfg = config_lib.model_config(config, tokenizer.vocab_size)
  size = config.data.batch_size
  batches = Batches(
    train_set,
    tokenizer,
    batch_size=size,
    seed=0,
    max_tokens=config.data.max_tokens,
    num_threads=0,
  )
  iterator = iter(batches.dataset())
  batch = next(iterator)
  fbank = jax.jit(log_mel)
  with_fbank = {k: v for k, v in batch.items() if k != "pcm"} | {
    "fbank": np.asarray(fbank(batch["pcm"], batch["num_samples"])),
    "has_audio": np.ones(size, bool),
  }
  parts = {
    "read, FLAC decode, tokenize": cpu_ms(lambda: next(iterator), args.rounds),
    "filter banks": cpu_ms(
      lambda: fbank(batch["pcm"], batch["num_samples"]), args.rounds
    ),
    "forward, backward, update": cpu_ms(
      train_step_work(config, cfg, with_fbank), args.rounds
    ),
  }
  total = sum(parts.values())
  for name, value in parts.items():
    print(f"{name:30s} {value / size:7.2f} CPU ms  {value / total:5.0%}")


if __name__ == "__main__":
  main()
