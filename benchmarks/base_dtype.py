"""What a decoder loses when its frozen weights are integers.

  python -m ltu_jax.convert import --dtype=float32 \
    --llama=SmolLM2-135M-Instruct.Q4_1.gguf --out=bases/smollm2
  python -m benchmarks.base_dtype --base=bases/smollm2

For each `base_dtype`: the decoder's bytes, its loss on English prose (Python's
own manual, `pydoc_data`), and that loss after adapters were trained on other
pages of it, all on the same batches in float32. Text alone: no audio is heard.
"""

import argparse
import dataclasses
import pydoc_data.topics
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ltu_jax import base, base_load, optim
from ltu_jax.aot.compile import tree_bytes
from ltu_jax.data.tokenizer import load_tokenizer
from ltu_jax.models.ast import EncoderConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import (
  abstract_params,
  init_params,
  new_state,
  overlay,
  split_params,
  split_parts,
)
from ltu_jax.train_step import loss_sum, make_train_step

_TOKENS = 129
_RATE = 1e-3


def batches(tokenizer, rows: int, num: int) -> list[dict[str, np.ndarray]]:
  """Batches [rows, T] of prose, spread over the whole manual."""
  topics = pydoc_data.topics.topics
  ids = tokenizer.encode("\n".join(topics[key] for key in sorted(topics)))
  starts = np.linspace(0, len(ids) - _TOKENS, rows * num).astype(int)
  found = []
  for i in range(num):
    tokens = np.stack([ids[s : s + _TOKENS] for s in starts[i::num]])
    ones = np.ones(tokens.shape, np.int32)
    found.append(
      {
        "tokens": tokens.astype(np.int32),
        "positions": np.cumsum(ones, 1) - 1,
        "segment_ids": ones,
        "loss_weights": ones.astype(np.float32),
      }
    )
  return found


def measure(folder: str, base_dtype: str, train: list, test: list) -> tuple:
  """Bytes of the layers, loss before and after training, seconds a step."""
  mesh = make_mesh({}, jax.devices()[:1])
  llama = dataclasses.replace(
    base.info(folder).parts["llama"],
    dtype="float32",
    remat="none",
    base_dtype=base_dtype,
  )
  cfg = LtuConfig(
    EncoderConfig(dim=16, depth=1, heads=2, dtype="float32"),
    llama=llama,
    lora=LoraConfig(dropout=0.0),
  )
  target = abstract_params(cfg, mesh)
  part, _ = split_parts(target, ["llama"])
  rest = ["encoder", "projector", "lora"]
  params = overlay(target, base_load.load(folder, nnx.to_pure_dict(part)))
  params = overlay(params, init_params(cfg, mesh, jax.random.key(0), rest))
  layers = nnx.to_pure_dict(params)["llama"]["layers"]
  num_bytes = tree_bytes(layers, on_all=True)
  graphdef, _ = abstract(cfg)
  trainable, frozen = split_params(params, ["lora_"])
  state = new_state(trainable, jax.random.key(1), mesh)

  @jax.jit
  def loss(trainable, frozen, batch):
    total, weight = loss_sum(nnx.merge(graphdef, trainable, frozen), batch)
    return total / weight

  mean = lambda trainable: np.mean([loss(trainable, frozen, b) for b in test])
  before = mean(state["trainable"])
  step = make_train_step(graphdef, trainable, frozen, mesh)
  schedule = optim.Schedule(*map(jnp.float32, (_RATE, 5, len(train))))
  start = time.time()
  for batch in train:
    micro = jax.tree.map(lambda x: x[None], batch)
    state, _ = step(state, frozen, micro, schedule)
  after = mean(state["trainable"])
  seconds = (time.time() - start) / len(train)
  return num_bytes, before, after, seconds


def main() -> None:
  """Prints a line for each dtype."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--base", required=True, help="base folder of a decoder")
  parser.add_argument("--steps", type=int, default=40)
  parser.add_argument("--rows", type=int, default=4)
  args = parser.parse_args()
  tokenizer = load_tokenizer(args.base)
  both = batches(tokenizer, args.rows, args.steps + 8)
  test = both[:: len(both) // 8][:8]
  train = [b for b in both if not any(b is t for t in test)]
  print("base_dtype  layers MB  loss  after training  s/step")
  for kind in ("", "int8", "int4"):
    size, before, after, seconds = measure(args.base, kind, train, test)
    print(
      f"{kind or 'as stored':10}  {size / 1e6:9.0f}  {before:.4f}  "
      f"{after:.4f}  {seconds:.1f}",
      flush=True,
    )


if __name__ == "__main__":
  main()
