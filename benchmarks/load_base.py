r"""Loading base weights onto a mesh: peak memory and bytes read, a process.

  python -m benchmarks.load_base --folder=/big/disk/load --layers=14

Makes random decoder weights of LLaMA's shape, of half its width (3.1 GB with 28
layers), kept for the next time, and loads them onto eight fake CPU devices: of
one process, of two with four each, and of four with two each. "weights" is what
the devices of a process hold in the end; on a CPU they hold it in the host's
memory, so "above" is what loading takes beside it. Bytes read are those of read
calls.
"""

import argparse
import dataclasses
import os
import pathlib
import resource
import subprocess
import sys
import time

import numpy as np

_GB = 1e9
_DEVICES = 8


def config(layers: int):
  """The model whose decoder is loaded."""
  from ltu_jax.models.ltu import LtuConfig

  cfg = LtuConfig()
  llama = dataclasses.replace(
    cfg.llama,
    layers=layers,
    dim=2048,
    mlp_dim=5504,
    heads=16,
    kv_heads=16,
  )
  return dataclasses.replace(cfg, llama=llama)


def target(layers: int):
  """The decoder's parameters as shapes on all devices."""
  from flax import nnx

  from ltu_jax.sharding import make_mesh
  from ltu_jax.train_state import abstract_params, split_parts

  mesh = make_mesh({"fsdp": -1, "tensor": 2})
  params = abstract_params(config(layers), mesh)
  return nnx.to_pure_dict(split_parts(params, ["llama"])[0])


def make(folder: pathlib.Path, layers: int) -> None:
  """Writes the random base."""
  from ltu_jax import base, tree_names

  pool = (0.02 * np.random.default_rng(0).standard_normal(1 << 24)).astype("f4")
  parts = {"llama": config(layers).llama}
  with base.BaseWriter(folder, parts, ["random"]) as writer:
    for path, struct in tree_names.leaves(target(layers)).items():
      for layer, name in base.layer_names(path, struct.shape):
        shape = struct.shape if layer is None else struct.shape[1:]
        array = np.resize(np.roll(pool, 7919 * (layer or 0)), shape)
        writer.add(name, array.astype(struct.dtype))


def load(folder: pathlib.Path, layers: int) -> None:
  """Loads it and prints what that took."""
  import jax

  from ltu_jax import base_load, processes

  wanted = target(layers)
  processes.barrier("loading")
  before, read = _peak(), _read()
  start = time.time()
  params = jax.block_until_ready(base_load.load(folder, wanted))
  seconds = time.time() - start
  weights = sum(
    shard.data.nbytes
    for array in jax.tree.leaves(params)
    for shard in array.addressable_shards
  )
  print(
    f"process {jax.process_index()} of {jax.process_count()}: {seconds:5.1f} s"
    f"  weights {weights / _GB:.2f} GB  read {(_read() - read) / _GB:.2f} GB"
    f"  peak {(_peak() - before) / _GB:.2f} GB"
    f"  above {(_peak() - before - weights) / _GB:.2f} GB",
    file=sys.stderr,
    flush=True,
  )
  processes.barrier("loaded")


def _peak() -> int:
  """The most memory that this process had, in bytes."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _read() -> int:
  """Bytes that this process read from files."""
  lines = pathlib.Path("/proc/self/io").read_text().splitlines()
  return int(dict(line.split(": ") for line in lines)["rchar"])


def main() -> None:
  """Measures, each case in processes of its own."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--folder", required=True, help="on a disk with 4 GB")
  parser.add_argument("--layers", type=int, default=28)
  parser.add_argument("--process", type=int, help="set by this program itself")
  parser.add_argument("--processes", type=int, default=1, help="as --process")
  args = parser.parse_args()
  folder = pathlib.Path(args.folder)
  if args.process is not None:
    from ltu_jax import processes

    if args.processes > 1:
      processes.start(
        coordinator="127.0.0.1:8477",
        num_processes=args.processes,
        process_id=args.process,
      )
    if not folder.exists():
      make(folder, args.layers)
    else:
      load(folder, args.layers)
    return
  cases = [] if folder.exists() else [1]
  for number in [*cases, 1, 2, 4]:
    devices = f"--xla_force_host_platform_device_count={_DEVICES // number}"
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": devices}
    command = [sys.executable, "-m", "benchmarks.load_base"]
    command += [f"--folder={folder}", f"--layers={args.layers}"]
    command += [f"--processes={number}"]
    started = [
      subprocess.Popen([*command, f"--process={i}"], env=env)
      for i in range(number)
    ]
    if any([process.wait() for process in started]):
      sys.exit("a process failed")


if __name__ == "__main__":
  main()
