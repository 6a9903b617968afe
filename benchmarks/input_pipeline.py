r"""Questions a second of the input pipeline, stage by stage and whole.

  python -m benchmarks.input_pipeline --data_dir=DIR

DIR holds openaqa/mini built from the packages (it is built if it is missing).
Stages are timed one after another on the same shuffled questions, in CPU time,
so that other work on the machine does not count; the whole is timed by grain
with threads and with worker processes, in CPU time and by the clock. Files are
in the system's cache.
"""

import argparse
import dataclasses
import io
import multiprocessing
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import grain
import numpy as np
import soundfile
import tensorflow_datasets as tfds
from absl import flags

from configs import base
from ltu_jax.audio.decode import SAMPLE_RATE, decode
from ltu_jax.data import openaqa
from ltu_jax.data.prepare import open_splits
from ltu_jax.data.tokenizer import (
  SentencePieceTokenizer,
  Tokenizer,
  tokenize_example,
)

NEEDED = 390
"""Questions a second of a v5e-16 host that trains LTU-7B at half of peak."""

BATCH = 32
"""Rows of the batches that are timed."""

BARE, DECODE = "libsndfile alone", "decode to 16 kHz int16"
OTHERS, WHOLE = "the row's other arrays", "whole, in one thread"

TOKENIZER = pathlib.Path("tests/golden/tiny_spm.model")


Task = tuple[Callable[[object], object], Sequence[object]]
"""What to call, and on what, one after the other."""


def seconds_each(tasks: Mapping[str, Task], rounds: int) -> dict[str, float]:
  """CPU seconds of a call of each task, medians over rounds.

  A round has all tasks, so that a busy minute does not fall on one of them.
  """
  times = {name: [] for name in tasks}
  for _ in range(rounds):
    for name, (work, items) in tasks.items():
      start = time.process_time()
      for item in items:
        work(item)
      times[name].append((time.process_time() - start) / len(items))
  return {name: float(np.median(values)) for name, values in times.items()}


def stages(
  batches: openaqa.Batches, data: dict, count: int, rounds: int
) -> dict[str, float]:
  """Times each stage by itself on the first `count` questions of the order.

  Args:
    batches: The pipeline.
    data: `config.data`.
    count: Questions.
    rounds: How often.

  Returns:
    CPU seconds a question by stage, of libsndfile alone and of the whole.
  """
  source, tokenizer = batches.source, batches.tokenizer
  builder = tfds.builder(data["name"], data_dir=data["dir"] or None)
  raw = builder.as_data_source(
    "train", deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
  )
  rows = [
    row for step in range(-(-count // BATCH)) for row in batches.rows(step)
  ]
  clips = [int(source.index.clip[row]) for row in rows]
  questions = [source[row] for row in rows]
  records = [raw[clip] for clip in clips]
  sounds = [question.audio for question in questions]
  max_seconds = openaqa.CLIP_SAMPLES / SAMPLE_RATE
  decoded = [decode(sound, max_seconds=max_seconds) for sound in sounds]
  whole_rows = [openaqa.make_row([q], tokenizer) for q in questions]
  in_batches = [
    whole_rows[i : i + BATCH] for i in range(0, len(whole_rows), BATCH)
  ]
  order = iter(batches.dataset())
  found = seconds_each(
    {
      BARE: (lambda s: soundfile.read(io.BytesIO(s), dtype="int16"), sounds),
      "read the record": (lambda clip: raw[clip], clips),
      "parse it (TFDS)": (
        builder.info.features.deserialize_example_np,
        records,
      ),
      DECODE: (lambda s: decode(s, max_seconds=max_seconds), sounds),
      "pad to 164,080": (pad, decoded),
      "tokenize": (lambda q: tokenize(tokenizer, q), questions),
      OTHERS: (
        lambda q: openaqa.make_row([q], tokenizer, with_audio=False),
        questions,
      ),
      "batch": (
        lambda b: grain.MapDataset.source(b).batch(BATCH)[0],
        in_batches,
      ),
      WHOLE: (lambda _: next(order), in_batches),
    },
    rounds,
  )
  found[OTHERS] -= found["tokenize"]
  found["batch"] /= BATCH
  found[WHOLE] /= BATCH
  return found


def pad(samples: np.ndarray) -> np.ndarray:
  """What `openaqa.load_pcm` does with a decoded clip."""
  pcm = np.zeros(openaqa.CLIP_SAMPLES, np.int16)
  pcm[: len(samples)] = samples
  return pcm


def tokenize(tokenizer: Tokenizer, question: openaqa.Question) -> object:
  """What `openaqa.make_row` does with the text."""
  return tokenize_example(tokenizer, question.instruction, "", question.output)


def cpu_seconds() -> float:
  """CPU seconds so far of this process and of its living children."""
  ticks = 0
  for child in multiprocessing.active_children():
    stat = pathlib.Path(f"/proc/{child.pid}/stat").read_text()
    # utime and stime, counted after the name, which may hold spaces.
    ticks += sum(map(int, stat.rpartition(")")[2].split()[11:13]))
  return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def whole(
  iterator: Iterator[object], count: int, rounds: int
) -> tuple[float, float]:
  """CPU and clock seconds a question of a running pipeline, medians."""
  # Starting, and making ahead what may wait, is not of interest.
  for _ in range(count // BATCH):
    next(iterator)
  times = []
  for _ in range(rounds):
    start = cpu_seconds(), time.perf_counter()
    for _ in range(count // BATCH):
      next(iterator)
    now = cpu_seconds(), time.perf_counter()
    times.append([(b - a) / count for a, b in zip(start, now, strict=True)])
  cpu, clock = np.median(times, axis=0)
  return float(cpu), float(clock)


def line(name: str, cpu: float, bare: float, rate: float | None = None) -> str:
  """One line of the table."""
  clock = "" if rate is None else f"{rate:.0f}"
  return (
    f"| {name} | {1e3 * cpu:.2f} | {1 / cpu:,.0f} | {NEEDED * cpu:.2f} |"
    f" {cpu / bare:.2f} | {clock} |"
  )


def main() -> None:
  """Measures and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  add = parser.add_argument
  add("--data_dir", default="", help="TFDS's folder")
  add("--tokenizer", default=TOKENIZER, help="a SentencePiece model")
  add("--questions", type=int, default=512, help="a multiple of 32")
  add("--rounds", type=int, default=5)
  add("--threads", type=int, nargs="*", default=[1, 2, 4, 8, 16])
  add("--workers", type=int, nargs="*", default=[1, 2, 4])
  args = parser.parse_args()
  # Grain's processes ask for absl's flags.
  flags.FLAGS.mark_as_parsed()
  data = base.get_config().data.to_dict() | {"dir": args.data_dir}
  source, _ = open_splits(data)
  batches = openaqa.Batches(
    source,
    SentencePieceTokenizer(args.tokenizer),
    batch_size=BATCH,
    seed=0,
    num_threads=0,
  )
  found = stages(batches, data, args.questions, args.rounds)
  bare = found[BARE]
  print(
    "| stage | CPU ms | questions/s a core | cores for"
    f" {NEEDED}/s | over libsndfile | questions/s by the clock |"
  )
  print("| --- | ---: | ---: | ---: | ---: | ---: |")
  for name, cpu in found.items():
    print(line(name, cpu, bare))
  parts = [found[name] for name in found if name not in (BARE, WHOLE)]
  print(line("sum of the stages", sum(parts), bare))
  for threads in args.threads:
    threaded = dataclasses.replace(batches, num_threads=threads)
    cpu, clock = whole(iter(threaded.dataset()), args.questions, args.rounds)
    print(line(f"whole, threads: {threads}", cpu, bare, 1 / clock), flush=True)
  for workers in args.workers:
    options = grain.MultiprocessingOptions(num_workers=workers)
    iterator = iter(batches.dataset().mp_prefetch(options))
    cpu, clock = whole(iterator, args.questions, args.rounds)
    print(
      line(f"whole, processes: {workers}", cpu, bare, 1 / clock), flush=True
    )
    iterator.close()


if __name__ == "__main__":
  main()
