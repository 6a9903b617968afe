"""The training step against transformers and peft, in one run.

  python -m benchmarks.vs_pytorch                  # small, on a CPU
  python -m benchmarks.vs_pytorch --size=7b --dtype=bfloat16 --batch=8  # a GPU

Both have the same weights (theirs are imported), batch, dtype and trained
parts: encoder, projection and adapters, with Adam and clipping. Before anything
is timed the losses of the first steps are compared. Rounds alternate between
ours, theirs and theirs under torch.compile, so that a busy machine slows all.
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


def our_step(
  cfg: LtuConfig, params: nnx.State, batch: Mapping[str, np.ndarray]
) -> Callable[[], float]:
  """A function that does a step of ours and returns its loss."""
  mesh = make_mesh({}, jax.devices()[:1])
  params = jax.device_put(params, shardings(abstract_params(cfg, mesh)))
  trainable, frozen = split_params(params, _TRAINABLE)
  step = make_train_step(abstract(cfg)[0], trainable, frozen, mesh)
  rows, text = batch["tokens"].shape
  ones = np.ones((rows, text), np.int32)
  given = Feed(mesh, rows)(
    {
      "fbank": batch["fbank"],
      "has_audio": np.ones(rows, bool),
      "tokens": batch["tokens"].astype(np.int32),
      "positions": AUDIO_TOKENS - 1 + np.cumsum(ones, 1, dtype=np.int32),
      "segment_ids": ones,
      "loss_weights": ones.astype(np.float32),
    }
  )
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


def make_batch(rows: int, text: int, vocab: int) -> dict[str, np.ndarray]:
  """Noise and random ids."""
  rng = np.random.default_rng(0)
  return {
    "fbank": rng.standard_normal((rows, 1024, 128), np.float32) / 2,
    "tokens": rng.integers(1, vocab, (rows, text)),
  }


def steps(
  size: Size, dtype: str, rows: int, text: int, kinds: tuple[str, ...]
) -> dict[str, Callable[[], float]]:
  """The steps of each kind, all from the same weights."""
  batch = make_batch(rows, text, size.decoder["vocab_size"])
  make = lambda: PytorchLtu(
    size.encoder, size.decoder, 8, getattr(torch, dtype), size.remat
  )
  found = {}
  for kind in kinds:
    if kind == "ltu_jax":
      found[kind] = our_step(*imported(make(), dtype, size.remat), batch)
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
  args = parser.parse_args()
  kinds = ("ltu_jax", "eager", "torch.compile")
  print(
    f"{args.size}, {args.dtype}, batch {args.batch}; jax {jax.__version__} on "
    f"{jax.devices()[0].device_kind}, torch {torch.__version__} on "
    f"{'cuda' if torch.cuda.is_available() else 'cpu'}, "
    f"{torch.get_num_threads()} threads"
  )
  runs = steps(
    SIZES[args.size], args.dtype, args.batch, args.text_tokens, kinds
  )
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
