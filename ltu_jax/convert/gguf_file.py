"""GGUF files, opened without a mapping: metadata, and tensors one at a time.

The container is that of ggml's docs/gguf.md, versions 2 and 3, little-endian:
magic, version, counts, metadata, descriptions of the tensors, padding, data.
The `gguf` library's own reader maps the file, so that what was read stays in
memory, and takes seconds for a vocabulary; sizes of quantized blocks and
their arithmetic are the library's.
"""

import dataclasses
import math
import os
import pathlib
import struct
import types
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from ltu_jax.convert.tensors import ConversionError, problem_table

# docs/gguf.md: gguf_metadata_value_type.
_NUMBERS = {
  0: np.dtype("<u1"),
  1: np.dtype("<i1"),
  2: np.dtype("<u2"),
  3: np.dtype("<i2"),
  4: np.dtype("<u4"),
  5: np.dtype("<i4"),
  6: np.dtype("<f4"),
  7: np.dtype("?"),
  10: np.dtype("<u8"),
  11: np.dtype("<i8"),
  12: np.dtype("<f8"),
}
_STRING, _ARRAY = 8, 9

_MOST_AXES = 4  # GGML_MAX_DIMS
_ALIGNMENT = 32  # docs/gguf.md: where general.alignment is not given

# Elements that are dequantized together.
_SLAB = 1 << 22


@dataclasses.dataclass(frozen=True)
class Stored:
  """A tensor in a GGUF file.

  Attributes:
    shape: Its shape, rows first (the file lists axes the other way round).
    kind: `gguf.GGMLQuantizationType`: how its numbers are stored.
    offset: Its first byte in the file.
    row_bytes: Bytes of a row, which is the last axis.
  """

  shape: tuple[int, ...]
  kind: Any
  offset: int
  row_bytes: int

  @property
  def end(self) -> int:
    """The byte after its last."""
    return self.offset + math.prod(self.shape[:-1]) * self.row_bytes


@dataclasses.dataclass(frozen=True)
class GgufFile:
  """What a GGUF file holds.

  Attributes:
    path: The file.
    metadata: Key -> number, bool, string or list of these. A float32 is given
      as the shortest decimal that stands for it.
    tensors: Name -> where and how it is stored, in the file's order.
  """

  path: pathlib.Path
  metadata: Mapping[str, Any]
  tensors: Mapping[str, Stored]

  def read(self, name: str) -> np.ndarray:
    """Reads and dequantizes a tensor.

    Returns:
      float32, of the tensor's shape. Beside it, 4 M numbers are in memory.

    Raises:
      ConversionError: The file is no longer the one that was opened.
    """
    dequantize = _library().quants.dequantize
    stored = self.tensors[name]
    out = np.empty(stored.shape, np.float32)
    rows = out.reshape(-1, stored.shape[-1])
    step = max(1, _SLAB // max(1, stored.shape[-1]))
    try:
      with self.path.open("rb") as file:
        file.seek(stored.offset)
        for i in range(0, len(rows), step):
          part = rows[i : i + step]
          count = len(part) * stored.row_bytes
          data = np.frombuffer(file.read(count), np.uint8)
          if data.size != count:
            raise ConversionError(f"{self.path}: ends inside of {name}")
          data = data.reshape(len(part), stored.row_bytes)
          part[...] = dequantize(data, stored.kind)
    except OSError as e:
      raise ConversionError(f"{self.path}: cannot be read: {e}") from e
    return out


def open_gguf(path: str | os.PathLike) -> GgufFile:
  """Opens a GGUF file: reads all but the tensors' data.

  Raises:
    ConversionError: A file that is missing, cut off, damaged or of another
      format, or tensors whose type cannot be dequantized, all of them; the
      `gguf` library is not installed.
  """
  path = pathlib.Path(path)
  _library()
  try:
    with path.open("rb") as file:
      return _parse(path, file)
  except OSError as e:
    raise ConversionError(f"{path}: cannot be read: {e}") from e


def _library() -> types.ModuleType:
  """The `gguf` library, which only this conversion needs."""
  try:
    import gguf
  except ImportError as e:
    raise ConversionError(
      "reading GGUF files needs gguf: pip install 'ltu-jax[convert]'"
    ) from e
  return gguf


class _Cursor:
  """Reads a header from front to back and never past the file's end."""

  def __init__(self, path: pathlib.Path, file: BinaryIO):
    self.path, self.file, self.position = path, file, 0
    self.size = os.fstat(file.fileno()).st_size

  def fail(self, what: str) -> ConversionError:
    return ConversionError(f"{self.path}: not a GGUF file to read: {what}")

  def take(self, count: int) -> bytes:
    self.position += count
    if self.position > self.size:
      raise ConversionError(
        f"{self.path}: ends in the middle of its header ({self.size} bytes);"
        " was it copied whole?"
      )
    return self.file.read(count)

  def number(self, code: str) -> int:
    return struct.unpack("<" + code, self.take(struct.calcsize(code)))[0]

  def string(self) -> str:
    try:
      return self.take(self.number("Q")).decode("utf-8")
    except UnicodeDecodeError as e:
      raise self.fail(f"text that is no UTF-8 ({e})") from e

  def value(self) -> Any:
    kind = self.number("I")
    if kind != _ARRAY:
      return self.values(kind, 1)[0]
    kind, count = self.number("I"), self.number("Q")
    return self.values(kind, count)

  def values(self, kind: int, count: int) -> list:
    if kind == _STRING:
      return [self.string() for _ in range(count)]
    if kind not in _NUMBERS:
      raise self.fail(f"a metadata value of type {kind}")
    dtype = _NUMBERS[kind]
    array = np.frombuffer(self.take(count * dtype.itemsize), dtype)
    if dtype == np.float32:
      return [float(str(x)) for x in array]
    return array.tolist()


def _parse(path: pathlib.Path, file: BinaryIO) -> GgufFile:
  """Reads everything before the data."""
  cursor = _Cursor(path, file)
  if cursor.size < 4 or cursor.take(4) != b"GGUF":
    raise cursor.fail('it does not begin with "GGUF"')
  version = cursor.number("I")
  if version not in (2, 3):
    # A big-endian file shows as version 3 << 24.
    raise cursor.fail(f"version {version}; only 2 and 3, little-endian, are")
  num_tensors, num_keys = cursor.number("Q"), cursor.number("Q")
  metadata: dict[str, Any] = {}
  for _ in range(num_keys):
    key = cursor.string()
    if key in metadata:
      raise cursor.fail(f"{key} is there twice")
    metadata[key] = cursor.value()
  described: dict[str, tuple] = {}
  for _ in range(num_tensors):
    name = cursor.string()
    if name in described:
      raise cursor.fail(f"tensor {name} is there twice")
    axes = cursor.number("I")
    if not 1 <= axes <= _MOST_AXES:
      raise cursor.fail(f"tensor {name} has {axes} axes")
    shape = tuple(cursor.number("Q") for _ in range(axes))[::-1]
    if not all(shape):
      raise cursor.fail(f"tensor {name} has shape {shape}")
    described[name] = shape, cursor.number("I"), cursor.number("Q")
  alignment = metadata.get("general.alignment", _ALIGNMENT)
  if not isinstance(alignment, int) or alignment < 1:
    raise cursor.fail(f"general.alignment is {alignment!r}")
  start = -(-cursor.position // alignment) * alignment
  return GgufFile(path, metadata, _place(cursor, described, start))


def _place(
  cursor: _Cursor, described: Mapping[str, tuple], start: int
) -> dict[str, Stored]:
  """Works out where tensors lie, and that they lie inside the file.

  Args:
    cursor: Names the file.
    described: Name -> shape, type and offset into the data.
    start: Where the data begins.

  Raises:
    ConversionError: All tensors of unknown types or odd rows, in a table; or
      the data goes on after the file's end.
  """
  tensors, problems = {}, []
  for name, (shape, kind, offset) in described.items():
    try:
      kind, block, size = _kind(kind)
    except ConversionError as e:
      problems.append(("unsupported", name, str(e)))
      continue
    if shape[-1] % block:
      detail = f"rows of {shape[-1]} are no multiple of {kind.name}'s {block}"
      problems.append(("mis-shaped", name, detail))
      continue
    row_bytes = shape[-1] // block * size
    tensors[name] = Stored(shape, kind, start + offset, row_bytes)
  if problems:
    raise ConversionError(
      f"{cursor.path}: cannot read\n{problem_table(problems)}"
    )
  end = max((t.end for t in tensors.values()), default=0)
  if end > cursor.size:
    raise ConversionError(
      f"{cursor.path}: has {cursor.size} bytes and its tensors need {end};"
      " was it copied whole?"
    )
  return tensors


def _kind(number: int) -> tuple[Any, int, int]:
  """(type, numbers of a block, bytes of a block), if it can be dequantized."""
  library = _library()
  try:
    kind = library.GGMLQuantizationType(number)
  except ValueError as e:
    raise ConversionError(f"type {number} is not one of GGML's") from e
  block, size = library.GGML_QUANT_SIZES[kind]
  try:
    library.quants.dequantize(np.zeros((1, size), np.uint8), kind)
  except NotImplementedError as e:
    raise ConversionError(f"type {kind.name} cannot be dequantized") from e
  return kind, block, size
