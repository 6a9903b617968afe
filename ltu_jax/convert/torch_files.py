"""State dicts in torch files, of which one at a time is open.

torch is imported where it is used: it comes with the extra `convert`.
"""

import pathlib
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError

from ltu_jax.convert.tensors import ConversionError, Tensor, problem_table

# The dtypes that torch and numpy have, by the name they have in both.
_DTYPES = {
  dtype.name: dtype
  for dtype in map(
    np.dtype,
    (
      *(np.bool_, np.uint8, np.uint16, np.uint32, np.uint64),
      *(np.int8, np.int16, np.int32, np.int64),
      *(np.float16, ml_dtypes.bfloat16, np.float32, np.float64),
    ),
  )
}

# What torch.load raises for damaged files besides OSError; found by changing
# bytes of files in both its formats.
_TORCH_ERRORS = (
  AssertionError,
  AttributeError,
  EOFError,
  LookupError,
  MemoryError,
  RuntimeError,
  TypeError,
  ValueError,
  SafetensorError,  # torch.load believes a name in .safetensors
  pickle.UnpicklingError,
  struct.error,
)

ZIP = b"PK\x03\x04"
"""What a torch file starts with since torch 1.6."""

MAPPED_BYTES = 2**28
"""A torch file is opened anew when more than this was read from its mapping.

Opening costs a parse of all its names (0.06 s for 300 tensors), so that doing
it for each tensor would take longer than reading the data.
"""


class TorchFiles:
  """Torch files, of which one at a time is open.

  A zip archive is mapped, and closed when MAPPED_BYTES were read. A file of
  torch before 1.6 is in memory as a whole until another is opened.
  """

  def __init__(self):
    """Starts with none open."""
    self._path: pathlib.Path | None = None
    self._state: Mapping[str, Any] = {}
    self._read = 0

  def _open(self, path: pathlib.Path) -> Mapping[str, Any]:
    if path != self._path:
      self._close()
      self._state, self._path = _load_torch(path), path
    return self._state

  def _close(self):
    self._path, self._state, self._read = None, {}, 0

  def tensors(self, path: pathlib.Path) -> dict[str, Tensor]:
    """What is in one of the files: name -> tensor.

    Raises:
      ConversionError: as `files.open_torch`.
    """
    state = self._open(path)
    import torch

    tensors, problems = {}, []
    for name, value in state.items():
      if not isinstance(name, str):
        detail = f"its name is a {type(name).__name__}"
      elif not isinstance(value, torch.Tensor):
        detail = type(value).__name__
      elif why := _not_plain(value):
        detail = why
      elif (dtype := _numpy_dtype(value.dtype)) is None:
        detail = f"dtype {value.dtype}"
      else:
        tensors[name] = Tensor(
          tuple(value.shape),
          dtype,
          lambda name=name: self._tensor(path, name),
          f"{path}: {name}",
        )
        continue
      problems.append(("no plain tensor", str(name), detail))
    if problems:
      raise ConversionError(f"{path}: cannot read\n{problem_table(problems)}")
    return tensors

  def _tensor(self, path: pathlib.Path, name: str) -> np.ndarray:
    tensor = self._open(path)[name].detach()
    dtype = _numpy_dtype(tensor.dtype)
    if dtype == ml_dtypes.bfloat16:
      import torch

      tensor = tensor.view(torch.int16)
    # A copy, so that it outlives the mapping.
    array = np.array(tensor.numpy().view(dtype), order="C")
    self._read += array.nbytes
    if self._read > MAPPED_BYTES and _is_zip(path):
      self._close()
    return array


def _not_plain(value: Any) -> str:
  """Why a tensor of torch is not one that numpy has; "" if it is."""
  import torch

  if value.layout != torch.strided or value.is_quantized:
    return f"{value.layout}, {value.dtype}"
  if value.device.type != "cpu":
    return f"on the device {value.device}"
  if value.is_conj() or value.is_neg():
    return "its numbers are those of another with a changed sign"
  if value.nbytes > value.untyped_storage().nbytes():
    # A few bytes could stand for a tensor that fills the memory.
    return "it repeats the same numbers: save it with .contiguous()"
  return ""


def _numpy_dtype(dtype: Any) -> np.dtype | None:
  """The dtype of numpy for one of torch, None where there is none."""
  return _DTYPES.get(str(dtype).removeprefix("torch."))


def _is_zip(path: pathlib.Path) -> bool:
  with path.open("rb") as file:
    return file.read(len(ZIP)) == ZIP


def _load_torch(path: pathlib.Path) -> Mapping[str, Any]:
  """Unpickles a state dict; tensors of a zip archive are mapped."""
  try:
    import torch
  except ImportError as e:
    raise ConversionError(
      f"{path}: a torch file is read with torch, which is not installed: "
      "pip install 'ltu-jax[convert]'"
    ) from e
  try:
    with warnings.catch_warnings():
      # Advice for those who write such files.
      warnings.simplefilter("ignore")
      loaded = torch.load(
        path, map_location="cpu", weights_only=True, mmap=_is_zip(path)
      )
  except OSError as e:
    raise ConversionError(f"{path}: cannot be read: {e}") from e
  except _TORCH_ERRORS as e:
    raise ConversionError(f"{path}: {_why_unreadable(e)}") from e
  return _state_dict(path, loaded)


def _why_unreadable(error: Exception) -> str:
  """What an error of torch.load says of the file."""
  text = str(error)
  if found := re.search(r"GLOBAL ([\w.]+)", text):
    what = f"it holds code ({found[1]})"
  elif "TorchScript" in text:
    what = "it holds code (TorchScript)"
  elif isinstance(error, pickle.UnpicklingError):
    # The last lines but for the pointer to torch's manual.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    detail = next((x for x in lines if x.startswith("Unsupported")), lines[-1])
    what = f"it holds code or is damaged ({detail})"
  else:
    first = re.split(r"\.\s|\n", text, maxsplit=1)[0]
    return (
      f"damaged, or no torch file: {type(error).__name__}: {first}. "
      "Was it copied whole?"
    )
  return (
    f"refused, {what}. Nothing of it was run. Where you trust it, load it "
    "elsewhere and save the state dict's tensors alone, as safetensors."
  )


def _state_dict(path: pathlib.Path, loaded: Any) -> Mapping[str, Any]:
  """The state dict in what a file held."""
  wrappers = [
    key
    for key in ("state_dict", "model")
    if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping)
  ]
  if len(wrappers) > 1:
    raise ConversionError(
      f"{path}: holds both {wrappers[0]!r} and {wrappers[1]!r}: save the one "
      "that is meant"
    )
  state = loaded[wrappers[0]] if wrappers else loaded
  if not isinstance(state, Mapping):
    raise ConversionError(
      f"{path}: holds a {type(state).__name__}, no state dict (names with "
      "tensors)"
    )
  return state
