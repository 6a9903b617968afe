"""Generation: time to first token and tokens/s, against transformers' generate.

  python -m benchmarks.generate                     # small, on a CPU
  python -m benchmarks.generate --size=7b --dtype=bfloat16 --no-theirs  # a GPU

Both have the same decoder weights, prompts of the same length, greedy choice
and no end token. Before anything is timed their tokens are compared. Rounds
alternate, so that a busy machine slows all. The bound is what memory allows:
every step reads the decoder's weights and the cache once, at the bandwidth that
a large matrix times a vector reached in the same run; or what arithmetic
allows, if that is less, at the rate of a large matmul.

Kinds: `engine` is answers/engine.py (continuous batching), `generate` the one
compiled loop of generate.py, `transformers, N` is eager PyTorch with N threads.
The last line has answers of unequal lengths: batches wait for their longest,
rows do not.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from flax import nnx

from benchmarks.pytorch_model import PytorchLtu
from benchmarks.train_step import matmul_rate
from benchmarks.vs_pytorch import SIZES, Size, imported
from ltu_jax import generate, sampling
from ltu_jax.answers.engine import Engine
from ltu_jax.answers.request import Request
from ltu_jax.models.ltu import LTU, abstract

_NEVER = -1
"""No end token: all answers have the same length."""

Run = Callable[[int, int], tuple[float, list[list[int]]]]
"""(rows, new tokens) -> seconds and the tokens of each row."""


def prompts(rows: int, length: int, vocab: int) -> list[list[int]]:
  """Token ids at random, without those that mean something."""
  rng = np.random.default_rng(rows)
  return rng.integers(3, vocab, (rows, length)).tolist()


def config(new: int) -> sampling.SamplingConfig:
  """Greedy, so many tokens."""
  return dataclasses.replace(sampling.GREEDY, max_new_tokens=new)


def by_engine(model: LTU, length: int, context: int, clip=None) -> Run:
  """Answers by the engine; one engine for each number of rows."""
  engines: dict[int, Engine] = {}

  def run(rows: int, new: int):
    if rows not in engines:
      engines[rows] = Engine(
        model, eos_id=_NEVER, num_rows=rows, context=context, reuse=False
      )
    engine = engines[rows]
    begin = time.perf_counter()
    found = {
      engine.submit(Request(prompt, clip, config(new))): []
      for prompt in prompts(rows, length, model.cfg.llama.vocab)
    }
    while not engine.idle:
      for drawn in engine.step(32):
        found[drawn.ticket] += drawn.tokens
    return time.perf_counter() - begin, list(found.values())

  return run


def by_generate(model: LTU, length: int) -> Run:
  """Answers by the one compiled loop."""

  def run(rows: int, new: int):
    begin = time.perf_counter()
    found = generate.generate(
      model,
      prompts(rows, length, model.cfg.llama.vocab),
      config=config(new),
      eos_id=_NEVER,
    )
    return time.perf_counter() - begin, found

  return run


def by_transformers(
  decoder: torch.nn.Module, length: int, vocab: int, threads: int
) -> Run:
  """Answers by transformers' generate, with its default cache."""
  device = "cuda" if torch.cuda.is_available() else "cpu"
  decoder = decoder.to(device).eval()
  decoder.config.use_cache = True

  def run(rows: int, new: int):
    torch.set_num_threads(threads)
    ids = torch.tensor(prompts(rows, length, vocab), device=device)
    begin = time.perf_counter()
    with torch.no_grad():
      out = decoder.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        generation_config=transformers.GenerationConfig(
          do_sample=False,
          max_new_tokens=new,
          eos_token_id=None,
          pad_token_id=0,
        ),
      )
    found = out[:, length:].tolist()
    return time.perf_counter() - begin, found

  return run


def bandwidth() -> float:
  """Bytes/s of one device: a matrix too large for caches times a vector."""
  rows = (1 << 13) if jax.default_backend() == "cpu" else (1 << 15)
  matrix, vector = jnp.ones((rows, rows)), jnp.ones(rows)
  times = jax.jit(lambda m, v: m @ v)
  jax.block_until_ready(times(matrix, vector))
  best = float("inf")
  for _ in range(5):
    begin = time.perf_counter()
    jax.block_until_ready(times(matrix, vector))
    best = min(best, time.perf_counter() - begin)
  return matrix.nbytes / best


def bound(
  model: LTU, rows: int, length: float, bytes_s: float, flops: float
) -> tuple[float, str]:
  """The most tokens/s of a decoding step, and what sets it.

  Args:
    model: The model.
    rows: Rows of the step.
    length: Mean number of slots that a row's queries look at.
    bytes_s: Memory bandwidth.
    flops: FLOP/s of a matmul.
  """
  cfg = model.cfg.llama
  weights = nnx.state(model.llama)
  sizes = [
    (x.size, x.size * x.dtype.itemsize) for x in jax.tree.leaves(weights)
  ]
  table = cfg.vocab * cfg.dim
  width = jnp.dtype(cfg.param_dtype).itemsize
  # Of the embedding a step reads one row; a tied one is the output matrix too.
  unread = 0 if cfg.tied else table
  numbers = sum(n for n, _ in sizes) - unread
  read = sum(b for _, b in sizes) - unread * width
  slot = 2 * cfg.layers * cfg.kv_heads * cfg.head_dim
  read += rows * length * slot * jnp.dtype(cfg.dtype).itemsize
  by_memory = rows / (read / bytes_s)
  by_compute = flops / (2 * numbers)
  if by_memory < by_compute:
    return by_memory, "memory"
  return by_compute, "compute"


def agree(runs: dict[str, Run], rows: int, new: int, dtype: str) -> None:
  """Compares the tokens of all kinds; in float32 they have to be equal.

  Raises:
    SystemExit: They differ in float32: then a ratio of times says nothing.
  """
  found = {kind: np.array(run(rows, new)[1]) for kind, run in runs.items()}
  want = next(iter(found.values()))
  for kind, tokens in found.items():
    share = float((tokens == want).mean())
    print(f"{kind:12} {100 * share:.1f} % of {want.size} tokens equal")
    if dtype == "float32" and share < 1:
      sys.exit(f"{kind}: these are not the tokens of the same model")


def measure(
  runs: dict[str, Run], rows: int, new: int, rounds: int
) -> dict[str, tuple[float, float]]:
  """Median seconds to the first token, and tokens/s of whole answers."""
  first = {kind: [] for kind in runs}
  whole = {kind: [] for kind in runs}
  for run in runs.values():
    run(rows, 1), run(rows, new)  # compiles
  for _ in range(rounds):
    for kind, run in runs.items():
      first[kind].append(run(rows, 1)[0])
      whole[kind].append(run(rows, new)[0])
  found = {}
  for kind in runs:
    start, end = map(statistics.median, (first[kind], whole[kind]))
    found[kind] = start, rows * new / end
  return found


def unequal(model: LTU, length: int, context: int, rows: int, new: int) -> None:
  """Prints how answers of unequal lengths come out of rows and of batches."""
  rng = np.random.default_rng(0)
  lengths = rng.integers(1, new + 1, 8 * rows).tolist()
  texts = prompts(len(lengths), length, model.cfg.llama.vocab)
  engine = Engine(
    model, eos_id=_NEVER, num_rows=rows, context=context, reuse=False
  )

  def by_rows() -> float:
    begin = time.perf_counter()
    for prompt, most in zip(texts, lengths, strict=True):
      engine.submit(Request(prompt, None, config(most)))
    while not engine.idle:
      engine.step(32)
    return time.perf_counter() - begin

  def by_batches() -> float:
    begin = time.perf_counter()
    for start in range(0, len(texts), rows):
      part = slice(start, start + rows)
      # All of a batch go on until its longest answer has ended.
      most = config(max(lengths[part]))
      generate.generate(model, texts[part], config=most, eos_id=_NEVER)
    return time.perf_counter() - begin

  by_rows(), by_batches()
  found = [(by_rows(), by_batches()) for _ in range(3)]
  ours, batches = map(statistics.median, zip(*found, strict=True))
  print(
    f"{len(lengths)} answers of 1 to {new} tokens, {rows} at a time:"
    f" rows {ours:.3g} s, batches {batches:.3g} s, {batches / ours:.2f} x"
  )


def models(size: Size, dtype: str) -> tuple[LTU, torch.nn.Module]:
  """Ours and transformers' decoder with the same weights, adapters merged."""
  make = lambda: PytorchLtu(
    size.encoder, size.decoder, 8, getattr(torch, dtype), False
  )
  cfg, params = imported(make(), dtype, False)
  ours = nnx.merge(abstract(cfg)[0], jax.device_put(params))
  # Drawn again: writing its parts took the adapters off the first.
  return ours, make().decoder.merge_and_unload()


def main(argv: Sequence[str] | None = None) -> None:
  """Compares the tokens, then times."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--size", choices=SIZES, default="small")
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64])
  parser.add_argument("--prompt_tokens", type=int, default=64)
  parser.add_argument("--new_tokens", type=int, default=64)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument(
    "--theirs", action=argparse.BooleanOptionalAction, default=True
  )
  args = parser.parse_args(argv)
  length, new = args.prompt_tokens, args.new_tokens
  model, decoder = models(SIZES[args.size], args.dtype)
  vocab = model.cfg.llama.vocab
  context = model.cfg.num_audio_tokens + length + new
  runs = {
    "engine": by_engine(model, length, context),
    "generate": by_generate(model, length),
  }
  if args.theirs:
    # On a busy machine its threads wait for each other: one may be faster.
    for threads in sorted({1, torch.get_num_threads()}):
      kind = f"transformers, {threads}"
      runs[kind] = by_transformers(decoder, length, vocab, threads)
  noise = np.random.default_rng(0).integers(-9999, 9999, 160_000, np.int16)
  hearing = {"with a clip": by_engine(model, length, context, noise)}
  speed, rate = bandwidth(), matmul_rate(args.dtype)
  print(
    f"{args.size}, {args.dtype}, prompts of {length}, answers of {new} tokens;"
    f" jax {jax.__version__} on {jax.devices()[0].device_kind}, torch"
    f" {torch.__version__}, {torch.get_num_threads()} threads; memory"
    f" {speed / 1e9:.3g} GB/s, matmul {rate / 1e12:.3g} TFLOP/s"
  )
  agree(runs, min(args.batch), min(new, 16), args.dtype)
  print("| batch | kind | first token, s | tokens/s | x ours | of the bound |")
  print("| ---: | --- | ---: | ---: | ---: | ---: |")
  for rows in args.batch:
    most, why = bound(model, rows, length + new / 2, speed, rate)
    found = measure(runs, rows, new, args.rounds)
    found |= measure(hearing, rows, new, args.rounds)
    for kind, (start, tokens) in found.items():
      print(
        f"| {rows} | {kind} | {start:.3g} | {tokens:.4g} |"
        f" {tokens / found['engine'][1]:.2f} | {100 * tokens / most:.0f} % of"
        f" {most:.4g} ({why}) |"
      )
  unequal(model, length, context, min(8, max(args.batch)), new)


if __name__ == "__main__":
  main()
