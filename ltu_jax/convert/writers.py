"""Files of weights, written tensor by tensor: safetensors and torch's.

A file or folder is written under another name and renamed when it is whole, so
that a killed export leaves nothing that is taken for one. What a target of the
same name holds is never written over.
"""

import contextlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
from tqdm import tqdm

from ltu_jax.convert.tensors import ConversionError, Tensor

_KINDS = {
  np.dtype(dtype): kind
  for dtype, kind in (
    (np.uint64, "U64"),
    (np.int64, "I64"),
    (np.float64, "F64"),
    (np.float32, "F32"),
    (np.uint32, "U32"),
    (np.int32, "I32"),
    (ml_dtypes.bfloat16, "BF16"),
    (np.float16, "F16"),
    (np.uint16, "U16"),
    (np.int16, "I16"),
    (np.int8, "I8"),
    (np.uint8, "U8"),
    (np.bool_, "BOOL"),
  )
}
"""Dtype -> its name in a safetensors header.

In the order in which the library writes them, widest first, so that every
tensor of a file is aligned.
"""

# Bytes in front of a tensor's data while a torch file is made.
_ALIGN = 64


@contextlib.contextmanager
def fresh_file(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a working name for a file; leaving the block renames it to `path`.

  After an error neither is there.

  Raises:
    ConversionError: `path` exists.
  """
  path, work = _names(path)
  try:
    yield work
    work.rename(path)
  finally:
    work.unlink(missing_ok=True)


@contextlib.contextmanager
def fresh_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """As `fresh_file`, for a folder; the working folder is there and empty."""
  path, work = _names(path)
  # What a killed export left.
  shutil.rmtree(work, ignore_errors=True)
  work.mkdir()
  try:
    yield work
    work.rename(path)
  finally:
    shutil.rmtree(work, ignore_errors=True)


def _names(path: str | os.PathLike) -> tuple[pathlib.Path, pathlib.Path]:
  """The absolute path and its working name; makes the folder above."""
  path = pathlib.Path(path).absolute()
  if os.path.lexists(path):
    raise ConversionError(
      f"{path} exists and is not written over: choose another name, or remove "
      "it."
    )
  path.parent.mkdir(parents=True, exist_ok=True)
  return path, path.with_name(f"{path.name}.incomplete")


def write_safetensors(
  path: str | os.PathLike,
  tensors: Mapping[str, Tensor],
  metadata: Mapping[str, str] | None = None,
) -> None:
  """Writes a safetensors file, with one tensor in memory at a time.

  The bytes are those that the safetensors library writes; that needs all
  tensors at once.

  Args:
    path: The file to make.
    tensors: Name -> tensor.
    metadata: Free text for the header.

  Raises:
    ConversionError: The file exists, a dtype that the format has not, or a
      tensor that reads otherwise than it was announced.
  """
  with fresh_file(path) as work, _progress(path, tensors) as bar:
    _write(work, tensors, metadata, bar)


def write_shards(
  folder: str | os.PathLike,
  tensors: Mapping[str, Tensor],
  max_bytes: int = 5 * 10**9,
  stem: str = "model",
) -> None:
  """Writes STEM.safetensors, or shards of it with an index.

  Files are named and filled as transformers does it. Their metadata is
  {"format": "pt"}, which transformers asks for.

  Args:
    folder: A folder that exists.
    tensors: Name -> tensor.
    max_bytes: Data of a shard at most, unless one tensor has more.
    stem: What the files are called.

  Raises:
    ConversionError: As `write_safetensors`.
  """
  folder, shards = pathlib.Path(folder), _split(tensors, max_bytes)
  files = [f"{stem}.safetensors"]
  if len(shards) > 1:
    numbers = range(1, len(shards) + 1)
    files = [
      f"{stem}-{i:05d}-of-{len(shards):05d}.safetensors" for i in numbers
    ]
  with _progress(folder / stem, tensors) as bar:
    for file, shard in zip(files, shards, strict=True):
      with fresh_file(folder / file) as work:
        _write(work, shard, {"format": "pt"}, bar)
  if len(shards) == 1:
    return
  index = {
    "metadata": {"total_size": sum(t.nbytes for t in tensors.values())},
    "weight_map": {
      name: file
      for file, shard in zip(files, shards, strict=True)
      for name in shard
    },
  }
  write_json(folder / f"{stem}.safetensors.index.json", index)


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes a JSON file, for reading too: indented, keys sorted."""
  text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
  pathlib.Path(path).write_text(text + "\n", encoding="utf-8")


def write_torch(path: str | os.PathLike, tensors: Mapping[str, Tensor]) -> None:
  """Writes a dict of tensors as `torch.save` does.

  torch wants all tensors at once: they are put into a temporary file beside
  the target, which takes as much room on the disk and is mapped. The system
  can take the mapped pages back, so that little memory is enough.

  Args:
    path: The file to make.
    tensors: Name -> tensor.

  Raises:
    ConversionError: The file exists, a tensor reads otherwise than it was
      announced, or torch is not installed.
  """
  try:
    import torch
  except ModuleNotFoundError as error:
    raise ConversionError(
      f"{path}: this format is written with torch, which is not installed: "
      "pip install 'ltu-jax[convert]', or choose a name that ends in "
      ".safetensors"
    ) from error
  with fresh_file(path) as work, _progress(path, tensors) as bar:
    # It has no name: the system removes it however the process ends.
    with tempfile.TemporaryFile(dir=work.parent) as data:
      starts = {}
      for name, tensor in tensors.items():
        data.write(b"\0" * (-data.tell() % _ALIGN))
        starts[name] = data.tell()
        data.write(_bytes(tensor))
        bar.update(tensor.nbytes)
      data.write(b"\0")  # an empty file cannot be mapped
      data.flush()
      # Copy on write: torch warns of memory that it must not change.
      mapped = np.memmap(data, np.uint8, "c")
    found = {}
    for name, start in starts.items():
      tensor = tensors[name]
      # All empty slices have one address, and torch does not save two there.
      array = mapped[start : start + tensor.nbytes]
      array = array if tensor.nbytes else np.empty(0, np.uint8)
      # torch does not know numpy's bfloat16.
      is_bf16 = tensor.dtype == ml_dtypes.bfloat16
      array = array.view(np.int16 if is_bf16 else tensor.dtype)
      value = torch.from_numpy(array.reshape(tensor.shape))
      found[name] = value.view(torch.bfloat16) if is_bf16 else value
    torch.save(found, work)


def _split(
  tensors: Mapping[str, Tensor], max_bytes: int
) -> list[dict[str, Tensor]]:
  """Fills shards in the order of the tensors, as huggingface_hub does."""
  shards, current, size = [], {}, 0
  for name, tensor in tensors.items():
    if tensor.nbytes > max_bytes:
      shards.append({name: tensor})
      continue
    if size + tensor.nbytes > max_bytes:
      shards.append(current)
      current, size = {}, 0
    current[name] = tensor
    size += tensor.nbytes
  return [*shards, current] if current or not shards else shards


def _write(
  path: pathlib.Path,
  tensors: Mapping[str, Tensor],
  metadata: Mapping[str, str] | None,
  bar: tqdm,
) -> None:
  """Writes a safetensors file: length of the header, JSON header, data."""
  for tensor in tensors.values():
    if tensor.dtype not in _KINDS:
      raise ConversionError(
        f"{tensor.origin}: safetensors has no dtype {tensor.dtype}"
      )
  rank = {dtype: i for i, dtype in enumerate(_KINDS)}
  order = sorted(tensors, key=lambda name: (rank[tensors[name].dtype], name))
  header: dict[str, Any] = {}
  if metadata is not None:
    header["__metadata__"] = dict(metadata)
  end = 0
  for name in order:
    tensor, start = tensors[name], end
    end += tensor.nbytes
    header[name] = {
      "dtype": _KINDS[tensor.dtype],
      "shape": list(tensor.shape),
      "data_offsets": [start, end],
    }
  text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
  text += b" " * (-len(text) % 8)
  with path.open("wb") as file:
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
      file.write(_bytes(tensors[name]))
      bar.update(tensors[name].nbytes)


def _bytes(tensor: Tensor) -> np.ndarray:
  """Reads a tensor: uint8 [its size], in its order of memory."""
  array = np.asarray(tensor.read())
  found, announced = (
    (tuple(array.shape), array.dtype),
    (tuple(tensor.shape), np.dtype(tensor.dtype)),
  )
  if found != announced:
    raise ConversionError(
      f"{tensor.origin}: it is {found[1]}{list(found[0])}, and "
      f"{announced[1]}{list(announced[0])} was announced"
    )
  return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _progress(path: str | os.PathLike, tensors: Mapping[str, Tensor]) -> tqdm:
  """A bar of bytes on standard error, where that is a terminal."""
  return tqdm(
    total=sum(tensor.nbytes for tensor in tensors.values()),
    desc=pathlib.Path(path).name,
    unit="B",
    unit_scale=True,
    file=sys.stderr,
    disable=None,
  )
