"""Files of weights, read tensor by tensor: safetensors and torch's.

Opening reads names, shapes and dtypes. Data is read when a tensor is, from a
mapping of the file that is closed soon after, because mapped pages count as
the process's memory. No file runs code: torch's are unpickled by torch's own
restricted reader (`weights_only=True`).
"""

import pathlib
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from ltu_jax import json_text
from ltu_jax.convert.tensors import ConversionError, Tensor, problem_table
from ltu_jax.convert.torch_files import ZIP, TorchFiles

DTYPES = {
  "BOOL": np.bool_,
  "U8": np.uint8,
  "I8": np.int8,
  "U16": np.uint16,
  "I16": np.int16,
  "U32": np.uint32,
  "I32": np.int32,
  "U64": np.uint64,
  "I64": np.int64,
  "F16": np.float16,
  "BF16": ml_dtypes.bfloat16,
  "F32": np.float32,
  "F64": np.float64,
}

_LFS = b"version https://git-lfs"


def open_safetensors(path: str | pathlib.Path) -> dict[str, Tensor]:
  """Opens a `.safetensors` file: reads its header only.

  Args:
    path: the file. Each read opens it, reads one tensor and closes it.

  Returns:
    Name -> tensor, in the file's order of names.

  Raises:
    ConversionError: a file that is missing, damaged or of another format, or
      dtypes that numpy has not; it names the file.
  """
  path = pathlib.Path(path)
  tensors, problems = {}, []
  with _open_mapped(path) as file:
    names = file.keys()
    for name in names:
      part = file.get_slice(name)
      if (kind := part.get_dtype()) not in DTYPES:
        problems.append(("unsupported", name, f"dtype {kind}"))
        continue
      dtype = np.dtype(DTYPES[kind])
      tensors[name] = Tensor(
        tuple(part.get_shape()),
        dtype,
        lambda name=name: _read_safetensors(path, name),
        f"{path}: {name}",
      )
  if problems:
    raise ConversionError(f"{path}: cannot read\n{problem_table(problems)}")
  return tensors


def safetensors_metadata(path: str | pathlib.Path) -> dict[str, str]:
  """The free text in the header of a `.safetensors` file, {} if none.

  Raises:
    ConversionError: as `open_safetensors`.
  """
  with _open_mapped(pathlib.Path(path)) as file:
    return file.metadata() or {}


def _open_mapped(path: pathlib.Path) -> safe_open:
  try:
    return safe_open(path, framework="np")
  except (SafetensorError, OSError) as e:
    raise ConversionError(
      f"{path}: cannot be read as safetensors: {e}. "
      "Is it there, and was it copied whole?"
    ) from e


def _read_safetensors(path: pathlib.Path, name: str) -> np.ndarray:
  with _open_mapped(path) as file:
    return file.get_tensor(name)


def open_torch(path: str | pathlib.Path) -> dict[str, Tensor]:
  """Opens a torch file (`.bin`, `.pth`, `.pt`): reads its names only.

  A state dict below the key "state_dict" or "model" is taken for the whole;
  what lies beside that key is not looked at. Files of torch before 1.6, which
  are no zip archives, cannot be mapped: such a file is in memory as a whole
  while it is read.

  Args:
    path: the file. It is mapped when a tensor is read, and unmapped when
      MAPPED_BYTES were read from it.

  Returns:
    Name -> tensor, in the file's order.

  Raises:
    ConversionError: a file that is missing, damaged, of another format or
      that holds code; entries that are no plain tensors, all of them; torch
      is not installed.
  """
  return TorchFiles().tensors(pathlib.Path(path))


def open_weights(
  path: str | pathlib.Path,
  stems: tuple[str, str] = ("model", "pytorch_model"),
) -> dict[str, Tensor]:
  """Opens a file of weights, or a folder of one or of shards with an index.

  A file's format is told by its first bytes, not by its name. In a folder
  safetensors come before torch files, and a whole file before an index, as
  transformers has it.

  Args:
    path: the file or folder.
    stems: what a folder's files are called before `.safetensors` and `.bin`.

  Returns:
    Name -> tensor; see `open_safetensors` and `open_torch`. Of the shards of a
    folder one at a time is open.

  Raises:
    ConversionError: nothing to read, a file that cannot be read, an index
      that does not fit its shards; all that is wrong with an index is listed.
  """
  path = pathlib.Path(path)
  if not path.is_dir():
    return _open_file(path, TorchFiles())
  names = []
  for stem, suffix in zip(stems, (".safetensors", ".bin"), strict=True):
    names += [f"{stem}{suffix}", f"{stem}{suffix}.index.json"]
  for name in names:
    if (path / name).exists():
      if name.endswith(".index.json"):
        return _open_shards(path / name)
      return _open_file(path / name, TorchFiles())
  raise ConversionError(f"{path}: has none of {', '.join(names)}")


def _open_file(
  path: pathlib.Path, torch_files: TorchFiles
) -> dict[str, Tensor]:
  """Opens one file by what it starts with."""
  try:
    with path.open("rb") as file:
      head = file.read(32)
  except OSError as e:
    raise ConversionError(f"{path}: cannot be read: {e}") from e
  if head.startswith(_LFS):
    raise ConversionError(
      f"{path}: a pointer of Git LFS, not the weights: run git lfs pull in "
      "its repository"
    )
  # The header's length in eight bytes, then JSON.
  if head[8:9] == b"{":
    return open_safetensors(path)
  # A zip archive, or a pickle of protocol 2 and later.
  if head.startswith((ZIP, b"\x80")):
    return torch_files.tensors(path)
  raise ConversionError(
    f"{path}: is empty"
    if not head
    else f"{path}: neither safetensors nor a torch file (starts with {head!r})"
  )


def _open_shards(index: pathlib.Path) -> dict[str, Tensor]:
  """Opens the shards of an index, and checks that the two agree."""
  weight_map = read_json(index).get("weight_map")
  if not isinstance(weight_map, dict) or not weight_map:
    raise ConversionError(f"{index}: has no weight_map of names to files")
  problems, tensors, torch_files = [], {}, TorchFiles()
  shards, origins = {}, {}
  for name in sorted(set(map(str, weight_map.values()))):
    # No folders: an index from elsewhere shall open nothing outside its own.
    if pathlib.PurePath(name).name != name or "\\" in name:
      problems.append(("no plain file name", name, ""))
    elif not (index.parent / name).exists():
      problems.append(("missing file", name, ""))
    else:
      shards[name] = _open_file(index.parent / name, torch_files)
  for shard, found in shards.items():
    for name, tensor in found.items():
      tensors[name] = tensor
      origins.setdefault(name, []).append(shard)
  for name, files in origins.items():
    if len(files) > 1:
      problems.append(("twice", name, f"in {' and '.join(files)}"))
  for name, shard in weight_map.items():
    shard = str(shard)
    if shard in shards and name not in shards[shard]:
      problems.append(("missing tensor", name, f"not in {shard}"))
  if problems:
    raise ConversionError(
      f"{index}: does not fit its files\n{problem_table(problems)}"
    )
  return tensors


def read_json(path: str | pathlib.Path) -> dict[str, Any]:
  """Reads a file that holds one JSON object.

  Raises:
    ConversionError: it is missing, no JSON, too large, no object, or has a key
      twice.
  """
  try:
    found = json_text.read(path, unique=True)
  except OSError as e:
    raise ConversionError(f"{path}: cannot be read: {e}") from e
  except ValueError as e:
    raise ConversionError(f"{path}: is not JSON to read: {e}") from e
  if not isinstance(found, dict):
    raise ConversionError(f"{path}: holds no JSON object")
  return found
