"""Evaluation: clips/s of answering and of scoring labels, and what bounds them.

  python -m benchmarks.evaluate                            # small, on a CPU
  python -m benchmarks.evaluate --size=7b --dtype=bfloat16  # an accelerator

Random weights, clips of noise, one question about all. Answers have 1 to
--new_tokens tokens, drawn at random: `one at a time` asks about a clip when the
last one is answered, as the published inference_batch.py does, with our
generate.py; `rows, N` is answers/answerer.py. `labels, N` scores N labels of a
few words each (answers/likelihood.py); `whole texts` reads prompt and label
anew for every label, and hears the clip once. Rounds alternate. Before anything
is timed, answers and scores of all kinds are compared.

The bound is a clip's arithmetic at the rate of a large matmul, and of every
token that is drawn what benchmarks/generate.py says; the last table is the
same for 10,000 clips with LTU-7B in bfloat16 on one chip (aot/topologies.py).
"""

import argparse
import dataclasses
import re
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.generate import bandwidth, bound
from benchmarks.train_step import matmul_rate
from ltu_jax import generate, padding, sampling
from ltu_jax.answers import branches, likelihood
from ltu_jax.answers.answerer import Answerer, Question
from ltu_jax.answers.likelihood import Likelihood
from ltu_jax.answers.rows import listen
from ltu_jax.aot import flops
from ltu_jax.aot.topologies import CHIPS
from ltu_jax.data.prompts import build_prompt
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.llama import LlamaConfig
from ltu_jax.models.ltu import LTU, LtuConfig, build

SIZES = {
  "tiny": LtuConfig(
    EncoderConfig(dim=32, depth=2, heads=2),
    llama=LlamaConfig(
      vocab=96, dim=48, mlp_dim=96, layers=2, heads=3, kv_heads=3
    ),
  ),
  "small": LtuConfig(
    EncoderConfig(dim=384, depth=6, heads=6),
    llama=LlamaConfig(
      vocab=8192, dim=512, mlp_dim=1376, layers=8, heads=8, kv_heads=8
    ),
  ),
  "7b": LtuConfig(),
}

QUESTION = "What can be inferred from the sound? What is the sound label?"

_WHOLE_ROWS = 16
"""Labels that `whole texts` reads at once."""

Run = Callable[[Sequence[Question]], list]


@dataclasses.dataclass(frozen=True)
class Pieces:
  """A tokenizer of made-up ids: four letters of a word, or one other sign.

  Attributes:
    vocab_size: Of the model.
    eos_id: -1 for answers that never end.
  """

  vocab_size: int
  eos_id: int = 2
  bos_id: int = 1
  pad_id: int = 0

  def encode(self, text: str, *, bos: bool, eos: bool) -> list[int]:
    """Returns the ids of a text."""
    found = re.findall(r" ?\w{1,4}|\W", text)
    ids = [3 + zlib.crc32(p.encode()) % (self.vocab_size - 3) for p in found]
    return [self.bos_id] * bos + ids + [self.eos_id] * eos

  def decode(self, ids: Sequence[int]) -> str:
    """Returns a text that says which ids they are."""
    return " ".join(map(str, ids))


def prompt_tokens(tokenizer: Pieces) -> int:
  """Tokens of the prompt."""
  return len(tokenizer.encode(build_prompt(QUESTION), bos=True, eos=False))


def labels(number: int) -> list[str]:
  """Made-up labels of one to three words, as AudioSet's mostly are."""
  rng = np.random.default_rng(0)
  letters = np.array([*"abcdefghijklmnopqrstuvwxyz"])
  word = lambda: "".join(rng.choice(letters, rng.integers(3, 10)))
  texts = (
    " ".join(word() for _ in range(rng.integers(1, 4))) for _ in range(number)
  )
  return [f"Labels: {text}" for text in texts]


def questions(number: int, new: int) -> list[Question]:
  """One question about clips of 10 s, with answers of unequal lengths."""
  rng = np.random.default_rng(1)
  return [
    Question(
      QUESTION,
      rng.integers(-9999, 9999, 160_000, np.int16),
      config=dataclasses.replace(
        sampling.GREEDY, max_new_tokens=int(rng.integers(1, new + 1))
      ),
    )
    for _ in range(number)
  ]


def one_at_a_time(model: LTU, tokenizer: Pieces) -> Run:
  """Answers clip after clip."""
  prompt = tokenizer.encode(build_prompt(QUESTION), bos=True, eos=False)

  def answer(question: Question) -> str:
    pcm, num_samples = generate.batch_clips([question.clip])
    [ids] = generate.generate(
      model,
      [prompt],
      pcm=pcm,
      num_samples=num_samples,
      config=question.config,
      eos_id=tokenizer.eos_id,
    )
    return tokenizer.decode(ids)

  return lambda asked: list(map(answer, asked))


def by_rows(model: LTU, tokenizer: Pieces, rows: int, context: int) -> Run:
  """Answers some at a time, each row replaced when it has ended."""
  # What rows hold of the last round would be reused.
  answerer = Answerer(
    model, tokenizer, num_rows=rows, context=context, reuse=False
  )

  def run(asked: Sequence[Question]) -> list[str]:
    found = dict(answerer.answers(asked))
    return [found[number].text for number in range(len(asked))]

  return run


def scored(model: LTU, tokenizer: Pieces, number: int, rows: int) -> Run:
  """Scores labels."""
  scorer = Likelihood(model, tokenizer, answers=labels(number), num_rows=rows)
  return lambda asked: [s.total for _, s in scorer.scores(asked)]


def whole_texts(model: LTU, tokenizer: Pieces, number: int) -> Run:
  """Scores labels by the forward pass on prompt and label, row by row."""
  prompt = build_prompt(QUESTION)
  encoded = likelihood.encode(tokenizer, prompt, labels(number))
  given = len(encoded.prompt)
  longest = given + max(map(len, encoded.answers))
  tokens = np.zeros((-(-number // _WHOLE_ROWS) * _WHOLE_ROWS, longest), "i4")
  for row, label in enumerate(encoded.answers):
    text = [*encoded.prompt, *label]
    tokens[row, : len(text)] = text
  lengths = given + np.array([*map(len, encoded.answers)])

  @jax.jit
  def forward(model: LTU, audio: jax.Array, tokens: jax.Array) -> jax.Array:
    """Log-probabilities of all tokens but the first, [B, T - 1]."""
    audio = jnp.repeat(audio, len(tokens), axis=0)
    x = jnp.concatenate([audio, model.llama.embed(tokens)], axis=1)
    position = jnp.arange(x.shape[1])
    hidden, _ = model.llama(
      x,
      jnp.broadcast_to(position, x.shape[:2]),
      jnp.broadcast_to(
        position <= position[:, None], (*x.shape[:2], x.shape[1])
      ),
    )
    logits = model.llama.logits(hidden[:, audio.shape[1] :])
    log_probs = jax.nn.log_softmax(logits[:, :-1])
    return jnp.take_along_axis(log_probs, tokens[:, 1:, None], 2)[..., 0]

  def score(question: Question) -> np.ndarray:
    audio = listen(model, *generate.batch_clips([question.clip]))
    found = [
      forward(model, audio, tokens[start : start + _WHOLE_ROWS])
      for start in range(0, len(tokens), _WHOLE_ROWS)
    ]
    found = np.concatenate(found)
    return np.array(
      [found[row, given - 1 : end - 1].sum() for row, end in enumerate(lengths)]
    )

  return lambda asked: list(map(score, asked))


@dataclasses.dataclass(frozen=True)
class Bound:
  """Least seconds of a clip on some device.

  Attributes:
    model: The model; shapes are enough.
    prompt: Tokens of the prompt.
    bytes_s: Memory bandwidth.
    flops: FLOP/s of a matmul.
  """

  model: LTU
  prompt: int
  bytes_s: float
  flops: float

  @property
  def read(self) -> float:
    """Hearing a clip and reading the prompt: arithmetic alone."""
    return flops.train_row(self.model.cfg, self.prompt, ()).forward / self.flops

  def answered(self, rows: int, tokens: float) -> float:
    """An answer of so many tokens, drawn with others in so many rows."""
    slots = self.model.cfg.num_audio_tokens + self.prompt + tokens / 2
    rate, _ = bound(self.model, rows, slots, self.bytes_s, self.flops)
    return self.read + tokens / rate

  def scored(self, tokens: int) -> float:
    """So many tokens of labels, without their attention."""
    cfg = self.model.cfg.llama
    numbers = sum(x.size for x in jax.tree.leaves(nnx.state(self.model.llama)))
    numbers -= 0 if cfg.tied else cfg.vocab * cfg.dim
    return self.read + 2 * numbers * tokens / self.flops


def tree_tokens(tokenizer: Pieces, number: int) -> int:
  """Tokens of so many labels, what they begin with in common once."""
  encoded = likelihood.encode(tokenizer, build_prompt(QUESTION), labels(number))
  read = [label[:-1] for label in encoded.answers]
  slots = padding.bucket(sum(map(len, read)))
  [tree] = branches.trees(read, slots)
  return int((tree.paths[tree.paths < slots]).max()) + 1


def agree(runs: dict[str, Run], asked: Sequence[Question], exact: bool) -> None:
  """Compares what all kinds say.

  Raises:
    SystemExit: They differ in float32: then a ratio of times says nothing.
  """
  found = {kind: run(asked) for kind, run in runs.items()}
  want, *_ = found.values()
  for kind, results in found.items():
    if isinstance(want[0], str):
      off = sum(a != b for a, b in zip(results, want, strict=True)) / len(want)
    else:
      off = float(np.max(np.abs(np.array(results) / np.array(want) - 1)))
    print(f"{kind:14} differs by {off:.2g}")
    # Scores are sums in another order; test_likelihood.py has the tolerance.
    if exact and off > 1e-4:
      sys.exit(f"{kind}: these are not the results of the same model")


def measure(
  runs: dict[str, Run], asked: Sequence[Question], rounds: int
) -> dict[str, float]:
  """Median clips/s of each kind."""
  for run in runs.values():
    run(asked)  # compiles
  seconds: dict[str, list[float]] = {kind: [] for kind in runs}
  for _ in range(rounds):
    for kind, run in runs.items():
      begin = time.perf_counter()
      run(asked)
      seconds[kind].append(time.perf_counter() - begin)
  return {
    kind: len(asked) / statistics.median(times)
    for kind, times in seconds.items()
  }


def table(found: dict[str, float], least: dict[str, float]) -> Iterator[str]:
  """Lines: clips/s, as a multiple of the first, and of the bound."""
  yield "| kind | clips/s | x the first | of the bound |"
  yield "| --- | ---: | ---: | ---: |"
  first, *_ = found.values()
  for kind, rate in found.items():
    share = f"{100 * rate * least[kind]:.0f} %" if kind in least else ""
    yield f"| {kind} | {rate:.3g} | {rate / first:.2f} | {share} |"


def made(cfg: LtuConfig, dtype: str) -> LTU:
  """A model of random weights, made where it will run."""
  cfg = cfg.for_answering(dtype, "")
  llama = dataclasses.replace(cfg.llama, param_dtype=dtype)
  cfg = dataclasses.replace(cfg, llama=llama)
  return jax.jit(lambda: build(cfg, jax.random.key(0)))()


def outlook(args: argparse.Namespace, number: int = 10_000) -> Iterator[str]:
  """Lines: hours of so many clips with LTU-7B, at the bound of one chip."""
  cfg = SIZES["7b"]
  model = jax.eval_shape(lambda: build(cfg, jax.random.key(0)))
  tokenizer = Pieces(cfg.llama.vocab)
  prompt = prompt_tokens(tokenizer)
  chip = CHIPS[args.chip]
  least = Bound(model, prompt, chip.hbm_bandwidth, chip.flops)
  mean = (1 + args.new_tokens) / 2
  kinds = {f"rows, {n}": least.answered(n, mean) for n in [1, *args.batch]}
  kinds |= {
    f"labels, {n}": least.scored(tree_tokens(tokenizer, n)) for n in args.labels
  }
  yield f"{number} clips, 7B in bfloat16, at the bound of one {args.chip}:"
  for kind, seconds in kinds.items():
    yield f"  {kind:14} {number * seconds / 3600:.3g} h"


def answering(
  model: LTU,
  asked: Sequence[Question],
  least: Bound,
  args: argparse.Namespace,
) -> None:
  """Compares and times answers, and prints the table."""
  endless = Pieces(model.cfg.llama.vocab, eos_id=-1)
  context = model.cfg.num_audio_tokens + least.prompt + args.new_tokens
  mean = statistics.mean(q.config.max_new_tokens for q in asked)
  runs = {"one at a time": one_at_a_time(model, endless)}
  limits = {"one at a time": least.answered(1, mean)}
  for rows in args.batch:
    kind = f"rows, {rows}"
    runs[kind] = by_rows(model, endless, rows, context)
    limits[kind] = least.answered(rows, mean)
  agree(runs, asked[:4], args.dtype == "float32")
  print(*table(measure(runs, asked, args.rounds), limits), sep="\n")


def scoring(
  model: LTU,
  asked: Sequence[Question],
  least: Bound,
  args: argparse.Namespace,
) -> None:
  """Compares and times scores, and prints the table."""
  tokenizer = Pieces(model.cfg.llama.vocab)
  fewest, rows = min(args.labels), min(args.batch)
  runs = {"whole texts": whole_texts(model, tokenizer, fewest)}
  limits = {"whole texts": least.scored(tree_tokens(tokenizer, fewest))}
  for number in args.labels:
    tokens = tree_tokens(tokenizer, number)
    kind = f"labels, {number}"
    runs[kind] = scored(model, tokenizer, number, rows)
    limits[kind] = least.scored(tokens)
    print(f"{kind}: {tokens} tokens, what they share once")
  few = {kind: runs[kind] for kind in ("whole texts", f"labels, {fewest}")}
  agree(few, asked[:2], args.dtype == "float32")
  print(*table(measure(runs, asked, args.rounds), limits), sep="\n")


def main(argv: Sequence[str] | None = None) -> None:
  """Compares, times, and says what the bounds are."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--size", choices=SIZES, default="small")
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--clips", type=int, default=64)
  parser.add_argument("--scored_clips", type=int, default=8)
  parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
  parser.add_argument("--labels", type=int, nargs="+", default=[50, 527])
  parser.add_argument("--new_tokens", type=int, default=32)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--chip", choices=CHIPS, default="v5p")
  args = parser.parse_args(argv)
  model = made(SIZES[args.size], args.dtype)
  prompt = prompt_tokens(Pieces(model.cfg.llama.vocab))
  least = Bound(model, prompt, bandwidth(), matmul_rate(args.dtype))
  print(
    f"{args.size}, {args.dtype}, a prompt of {prompt}, answers of 1 to"
    f" {args.new_tokens} tokens; jax {jax.__version__} on"
    f" {jax.devices()[0].device_kind}; memory {least.bytes_s / 1e9:.3g} GB/s,"
    f" matmul {least.flops / 1e12:.3g} TFLOP/s"
  )
  asked = questions(max(args.clips, args.scored_clips), args.new_tokens)
  answering(model, asked[: args.clips], least, args)
  scoring(model, asked[: args.scored_clips], least, args)
  print(*outlook(args), sep="\n")


if __name__ == "__main__":
  main()
