"""What a checkpoint costs: how long training waits, and until it is safe.

  python -m benchmarks.checkpoint_cost --megabytes=300

A state of random float32 weights and Adam moments, like that of LTU's encoder,
projection and adapters, which have 1,117 MB in all at 7B.
"""

import argparse
import pathlib
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ltu_jax import checksum
from ltu_jax.checkpoint import Checkpoints


def _state(megabytes: int) -> dict:
  """A state of about so many MB: weights, and two moments each."""
  rows = megabytes * 10**6 // (3 * 4 * 12 * 1024)
  rng = np.random.default_rng(0)
  weights = {
    f"layer{i}": jnp.asarray(rng.normal(size=(rows, 1024)), jnp.float32)
    for i in range(12)
  }
  return {
    "trainable": weights,
    "opt": optax.scale_by_adam().init(weights),
    "step": jnp.int32(1),
    "rng": jax.random.key(0),
  }


def _seconds(act) -> float:
  """How long a call takes."""
  start = time.perf_counter()
  act()
  return time.perf_counter() - start


def main() -> None:
  """Measures several saves and prints the medians."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--megabytes", type=int, default=300)
  parser.add_argument("--saves", type=int, default=5)
  args = parser.parse_args()
  state = _state(args.megabytes)
  size = sum(x.nbytes for x in jax.tree.leaves(state) if x.dtype != "key<fry>")
  checksum.of_tree(state)  # compiles
  times = {"checksums": [], "training waits": [], "until safe": []}
  with tempfile.TemporaryDirectory() as folder:
    with Checkpoints(pathlib.Path(folder)) as saved:
      for step in range(1, args.saves + 1):
        times["checksums"].append(_seconds(lambda: checksum.of_tree(state)))
        start = time.perf_counter()
        saved.save(step, state, None)
        times["training waits"].append(time.perf_counter() - start)
        saved.settle()
        times["until safe"].append(time.perf_counter() - start)
    shapes = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      state,
    )
    with Checkpoints(pathlib.Path(folder)) as saved:
      restored = _seconds(lambda: saved.restore(shapes, None))
  print(f"{jax.devices()[0].device_kind}, state of {size / 1e6:.0f} MB")
  for name, found in times.items():
    middle = sorted(found)[len(found) // 2]
    print(f"{name:16} {middle:6.2f} s  {size / middle / 1e9:6.2f} GB/s")
  print(f"{'restored':16} {restored:6.2f} s  {size / restored / 1e9:6.2f} GB/s")


if __name__ == "__main__":
  main()
