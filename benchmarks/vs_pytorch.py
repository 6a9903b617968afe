r"""The training step against transformers and peft, in one run.

  python -m benchmarks.vs_pytorch                  # small, on a CPU
  python -m benchmarks.vs_pytorch --batch=12 --used_tokens=56 \
    --questions_per_row=6 --row_tokens=400         # packed, too
  python -m benchmarks.vs_pytorch --size=7b --dtype=bfloat16 --batch=8  # a GPU

Both have the same weights (theirs are imported), batch, dtype and trained
parts: encoder, projection and adapters, with Adam and clipping. Before anything
is timed the losses of the first steps are compared. Rounds alternate between
ours, theirs and theirs under torch.compile, so that a busy machine slows all.
With --questions_per_row so many questions that follow each other are about one
clip: ours does the same step once more with these in one row.
"""

import argparse
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from benchmarks.pytorch_model import AUDIO_TOKENS, PytorchLtu
from ltu_jax import optim
from ltu_jax.convert.from_torch import import_state_dict
from ltu_jax.convert.hf_ast import read_hf_ast
from ltu_jax.convert.importing import merge
from ltu_jax.convert.llama import read_llama
from ltu_jax.convert.peft import read_peft
from ltu_jax.feed import Feed
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import make_mesh, shardings
from ltu_jax.train_state import abstract_params, new_state, split_params
from ltu_jax.train_step import make_train_step

KINDS = ("ltu_jax", "eager", "torch.compile")
_RATE = 1e-4
_TRAINABLE = ("^encoder/", "^projector/", "lora_")


@dataclasses.dataclass(frozen=True)
class Size:
  """Sizes of a model, as fields of transformers' configs.

  Attributes:
    encoder: of ASTConfig.
    decoder: of LlamaConfig.
    remat: whether only the inputs of layers are kept.
  """

  encoder: Mapping[str, int]
  decoder: Mapping[str, int]
  remat: bool = False


def _encoder(width: int, depth: int, heads: int) -> dict[str, int]:
  return {
    "hidden_size": width,
    "intermediate_size": 4 * width,
    "num_hidden_layers": depth,
    "num_attention_heads": heads,
  }


def _decoder(width: int, mlp: int, depth: int, heads: int, vocab: int) -> dict:
  return {
    "hidden_size": width,
    "intermediate_size": mlp,
    "num_hidden_layers": depth,
    "num_attention_heads": heads,
    "num_key_value_heads": heads,
    "vocab_size": vocab,
  }


SIZES = {
  "tiny": Size(_encoder(32, 2, 2), _decoder(48, 96, 2, 3, 96)),
  "small": Size(_encoder(384, 6, 6), _decoder(512, 1376, 8, 8, 8192)),
  "7b": Size(_encoder(768, 12, 12), _decoder(4096, 11008, 32, 32, 32000), True),
}


def imported(theirs: PytorchLtu, dtype: str, remat: bool) -> tuple:
  """Our model's config and parameters (NumPy) with their weights."""
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    theirs.save(root)
    source = merge(
      [
        read_hf_ast(root / "encoder"),
        read_llama(root / "decoder"),
        read_peft(root / "adapter"),
      ]
    )
    tensors = {name: tensor.read() for name, tensor in source.tensors.items()}
  policy = "full" if remat else "none"
  run = {"dtype": dtype, "remat": policy}
  parts = source.parts
  cfg = LtuConfig(
    encoder=dataclasses.replace(parts["encoder"], **run),
    llama=dataclasses.replace(parts["llama"], param_dtype=dtype, **run),
    lora=dataclasses.replace(parts["lora"], dropout=0.0),
  )
  tensors |= theirs.projection_tensors()
  return cfg, import_state_dict(abstract(cfg)[1], cfg, tensors)


def our_rows(
  batch: Mapping[str, np.ndarray], per_row: int, room: int
) -> dict[str, np.ndarray]:
  """The batch as ours reads it.

  Args:
    batch: see `make_batch`.
    per_row: questions of a row.
    room: text tokens of a row.
  """
  used = int((batch["tokens"] > 0).sum(1)[0])  # each question's
  rows, taken = len(batch["tokens"]) // per_row, per_row * used
  # Ids are cut into rows; what is the same in all of them is repeated.
  row = lambda x: np.pad(
    np.resize(x, (rows, taken)).astype(np.int32), ((0, 0), (0, room - taken))
  )
  place = np.arange(taken)
  return {
    "fbank": batch["fbank"][::per_row],
    "has_audio": np.ones(rows, bool),
    "tokens": row(batch["tokens"][:, :used]),
    "positions": row(AUDIO_TOKENS + place % used),
    "segment_ids": row(1 + place // used),
    # No question is asked for its first token.
    "loss_weights": row(place % used > 0).astype(np.float32),
  }


def our_step(
  cfg: LtuConfig, params: nnx.State, batch: Mapping[str, np.ndarray]
) -> Callable[[], float]:
  """A function that does a step of ours and returns its loss.

  Args:
    cfg: the model's.
    params: its weights.
    batch: of `our_rows`.
  """
  mesh = make_mesh({}, jax.devices()[:1])
  params = jax.device_put(params, shardings(abstract_params(cfg, mesh)))
  trainable, frozen = split_params(params, _TRAINABLE)
  step = make_train_step(abstract(cfg)[0], trainable, frozen, mesh)
  given = Feed(mesh, len(batch["tokens"]))(batch)
  # A constant rate.
  schedule = optim.Schedule(
    jnp.float32(_RATE), jnp.int32(0), jnp.int32(1 << 30)
  )
  states = [new_state(trainable, jax.random.key(0), mesh)]

  def run() -> float:
    state, metrics = step(states.pop(), frozen, given, schedule)
    states.append(state)
    return float(metrics["loss"])

  return run


def their_step(
  model: PytorchLtu, batch: Mapping[str, np.ndarray], compiled: bool
) -> Callable[[], float]:
  """A function that does a step of theirs and returns its loss."""
  device = "cuda" if torch.cuda.is_available() else "cpu"
  model.to(device)
  fbank, tokens = (
    torch.from_numpy(batch[k]).to(device) for k in ("fbank", "tokens")
  )
  loss_of = torch.compile(model) if compiled else model
  weights = model.trainable()
  adam = torch.optim.Adam(weights, lr=_RATE)

  def run() -> float:
    adam.zero_grad()
    loss = loss_of(fbank, tokens)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    adam.step()
    return float(loss.detach())

  return run


def make_batch(
  rows: int, text: int, vocab: int, used: int = 0, per_clip: int = 1
) -> dict[str, np.ndarray]:
  """Noise and random ids.

  Args:
    rows: questions.
    text: tokens of a row; those after the question are 0.
    vocab: ids are less.
    used: tokens of each question; 0 for all.
    per_clip: questions about each clip.
  """
  rng = np.random.default_rng(0)
  clips = rng.standard_normal((rows // per_clip, 1024, 128), np.float32) / 2
  tokens = rng.integers(1, vocab, (rows, text))
  tokens[:, used or text :] = 0
  return {"fbank": np.repeat(clips, per_clip, 0), "tokens": tokens}


def steps(
  size: Size,
  dtype: str,
  batch: Mapping[str, np.ndarray],
  kinds: tuple[str, ...],
  packed: tuple[int, int] = (1, 0),
) -> dict[str, Callable[[], float]]:
  """The steps of each kind, all from the same weights.

  Args:
    size: of the model.
    dtype: of activations and the decoder's weights.
    batch: see `make_batch`.
    kinds: of KINDS, and "packed".
    packed: questions of a row of "packed", and its text tokens.
  """
  make = lambda: PytorchLtu(
    size.encoder, size.decoder, 8, getattr(torch, dtype), size.remat
  )
  shapes = {"ltu_jax": (1, batch["tokens"].shape[1]), "packed": packed}
  found = {}
  for kind in kinds:
    if kind in shapes:
      ours = imported(make(), dtype, size.remat)
      found[kind] = our_step(*ours, our_rows(batch, *shapes[kind]))
    else:
      found[kind] = their_step(make(), batch, kind == "torch.compile")
  return found


def compare(
  runs: Mapping[str, Callable[[], float]], rtol: float, num: int = 3
) -> None:
  """Does the first steps and compares their losses with the first kind's.

  Raises:
    SystemExit: they differ: then a ratio of times says nothing.
  """
  losses = {kind: [run() for _ in range(num)] for kind, run in runs.items()}
  for kind, values in losses.items():
    print(f"{kind:14} first losses {' '.join(f'{v:.5f}' for v in values)}")
  want = next(iter(losses.values()))
  for kind, values in losses.items():
    if not np.allclose(values, want, rtol=rtol, atol=0):
      sys.exit(f"{kind}: these are not the losses of the same model")


def main() -> None:
  """Compares the losses, then times."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--size", choices=SIZES, default="small")
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--batch", type=int, default=4)
  parser.add_argument("--text_tokens", type=int, default=108)
  parser.add_argument("--rounds", type=int, default=10)
  parser.add_argument(
    "--used_tokens", type=int, default=0, help="not padding; default: all"
  )
  parser.add_argument("--questions_per_row", type=int, default=1)
  parser.add_argument(
    "--row_tokens", type=int, help="of a packed row; default: what it holds"
  )
  args = parser.parse_args()
  kinds, per_row = KINDS, args.questions_per_row
  used = args.used_tokens or args.text_tokens
  if args.row_tokens is None:
    args.row_tokens = per_row * used
  if args.batch % per_row or used > args.text_tokens:
    parser.error("--questions_per_row must divide --batch, and texts must fit")
  if args.row_tokens < per_row * used:
    parser.error(f"--row_tokens={args.row_tokens}: {per_row * used} are needed")
  if per_row > 1:
    kinds += ("packed",)
  print(
    f"{args.size}, {args.dtype}, batch {args.batch}; jax {jax.__version__} on "
    f"{jax.devices()[0].device_kind}, torch {torch.__version__} on "
    f"{'cuda' if torch.cuda.is_available() else 'cpu'}, "
    f"{torch.get_num_threads()} threads"
  )
  size = SIZES[args.size]
  vocab = size.decoder["vocab_size"]
  batch = make_batch(args.batch, args.text_tokens, vocab, used, per_row)
  runs = steps(size, args.dtype, batch, kinds, (per_row, args.row_tokens))
  # Sums in another order; in bfloat16 its 8 bits, of activations and gradients.
  compare(runs, rtol=1e-4 if args.dtype == "float32" else 2e-2)
  seconds = {kind: [] for kind in runs}
  for _ in range(args.rounds):
    for kind, run in runs.items():
      start = time.perf_counter()
      run()
      seconds[kind].append(time.perf_counter() - start)
  ours = statistics.median(seconds["ltu_jax"])
  for kind, found in seconds.items():
    median = statistics.median(found)
    print(
      f"{kind:14} {median:.4g} s a step (fastest {min(found):.4g}), "
      f"{args.batch / median:.4g} questions/s, {median / ours:.2f} x ours"
    )


if __name__ == "__main__":
  main()
