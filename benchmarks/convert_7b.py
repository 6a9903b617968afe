r"""A full-size LLaMA-7B through import and export: peak memory and time.

  python -m benchmarks.convert_7b --folder=/big/disk/convert_7b

Makes a random LLaMA-7B as a Hugging Face folder (13.5 GB) and a random LTU file
for it, kept for the next time; imports both, exports the decoder with the
adapters merged, and copies the folder for comparison.
Each runs in a process of its own; peak memory is what the operating system
counted for it, mapped files included. Needs 45 GB of disk.
"""

import argparse
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from ltu_jax.convert.from_torch import entries
from ltu_jax.convert.llama import llama_config_json
from ltu_jax.convert.names import PREFIX, published_shape
from ltu_jax.convert.tensors import Tensor
from ltu_jax.convert.writers import write_safetensors, write_shards
from ltu_jax.models.ltu import LtuConfig

_GB = 1e9


def random_tensors(
  cfg: LtuConfig, parts: Sequence[str], dtype: str
) -> dict[str, Tensor]:
  """Random published weights of some parts, made when they are read."""
  rng = np.random.default_rng(0)
  # Drawn once and turned for each tensor: drawing 6.7e9 normals takes long.
  pool = (0.02 * rng.standard_normal(1 << 25)).astype(dtype)
  make = lambda shape, seed: np.resize(np.roll(pool, 7919 * seed), shape)
  tensors = {}
  for seed, entry in enumerate(entries(cfg, parts)):
    shape = published_shape(entry.path, entry.shape, cfg.encoder)
    read = functools.partial(make, shape, seed)
    tensors[entry.name] = Tensor(shape, np.dtype(dtype), read, "random")
  return tensors


def make_weights(folder: pathlib.Path, cfg: LtuConfig) -> None:
  """Writes hf (LLaMA, float16, shards of 5 GB) and ltu.safetensors."""
  work = folder / "making"
  shutil.rmtree(work, ignore_errors=True)
  work.mkdir(parents=True)
  write_shards(work, random_tensors(cfg, ["llama"], "float16"))
  config = llama_config_json(cfg.llama, bos=1, eos=2, pad=0)
  (work / "config.json").write_text(json.dumps(config))
  audio = random_tensors(cfg, ["encoder", "projector", "lora"], "float32")
  named = {PREFIX + name: tensor for name, tensor in audio.items()}
  (folder / "ltu.safetensors").unlink(missing_ok=True)
  write_safetensors(folder / "ltu.safetensors", named)
  work.rename(folder / "hf")


def run(name: str, command: Sequence[str], size: int) -> float:
  """Runs a command; prints its time, rate and peak memory.

  Returns:
    Seconds.
  """
  os.sync()
  start = time.time()
  process = subprocess.Popen(command)
  _, status, used = os.wait4(process.pid, 0)
  os.sync()
  seconds = time.time() - start
  if status:
    sys.exit(f"{name}: exit status {status}")
  print(
    f"{name:28s} {seconds:7.1f} s  {size / seconds / 1e6:6.0f} MB/s  peak "
    f"{used.ru_maxrss * 1024 / _GB:5.2f} GB",
    flush=True,
  )
  return seconds


def drop_caches(folder: pathlib.Path) -> None:
  """Asks the system to forget the files' pages, so that they are read anew."""
  for path in folder.rglob("*"):
    if path.is_file():
      with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def size_of(folder: pathlib.Path) -> int:
  """Bytes of all files in a folder."""
  return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def main() -> None:
  """Measures and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--folder", required=True, help="on a disk with 45 GB")
  args = parser.parse_args()
  root = pathlib.Path(args.folder)
  source, base, copy, out = (root / n for n in ("hf", "base", "copy", "out"))
  cfg = LtuConfig()
  if not source.exists():
    make_weights(root, cfg)
  for folder in (base, copy, out):
    shutil.rmtree(folder, ignore_errors=True)
  size = size_of(source)
  largest = 2 * cfg.llama.vocab * cfg.llama.dim
  print(
    f"{size / _GB:.1f} GB, largest tensor {largest / _GB:.2f} GB, bound of "
    f"the import's memory {(2 * largest + 2 * _GB) / _GB:.2f} GB"
  )
  convert = [sys.executable, "-m", "ltu_jax.convert"]
  drop_caches(root)
  disk = run("cp", ["cp", "-r", str(source), str(copy)], size)
  shutil.rmtree(copy)
  drop_caches(root)
  seconds = run(
    "import",
    [
      *convert,
      "import",
      f"--llama={source}",
      f"--ltu={root / 'ltu.safetensors'}",
      f"--out={base}",
    ],
    size,
  )
  print(f"import / cp: {seconds / disk:.1f}")
  drop_caches(root)
  seconds = run(
    "export",
    [*convert, "export", f"--base={base}", "--format=hf", f"--out={out}"],
    size,
  )
  print(f"export / cp: {seconds / disk:.1f}")
  print(f"base folder: {size_of(base) / _GB:.1f} GB")


if __name__ == "__main__":
  main()
