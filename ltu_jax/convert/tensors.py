"""Tensors that are read when they are asked for: what conversion passes on.

Every format is read as a mapping of names to `Tensor` and written from one, so
that a model of any size goes through one tensor at a time. The names in between
are the published code's without PEFT's prefix ("canonical", see names.py).
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np


class ConversionError(ValueError):
  """Weights that cannot be converted; the message lists all that is wrong."""


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor in a file.

  Attributes:
    shape: Its shape.
    dtype: Its dtype as numpy sees it, `ml_dtypes.bfloat16` among them.
    read: Reads it: an array of this shape and dtype. Nothing is kept.
    origin: Where it comes from, for messages: "FILE: NAME".
  """

  shape: tuple[int, ...]
  dtype: np.dtype
  read: Callable[[], np.ndarray]
  origin: str

  @property
  def nbytes(self) -> int:
    """Its size when read."""
    return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def config_of(cls: type, where: str, **fields: Any) -> Any:
  """Makes the config of a part of the model from what a file says.

  Args:
    cls: One of the dataclasses of models/.
    where: The file, for messages.
    **fields: The sizes.

  Raises:
    ConversionError: Sizes that no model has, or that do not fit together.
  """
  try:
    return cls(**fields)
  except ValueError as error:
    raise ConversionError(f"{where}: {error}") from error


def of_array(array: np.ndarray, origin: str = "memory") -> Tensor:
  """An array that is there already, as a Tensor."""
  array = np.asarray(array)
  return Tensor(array.shape, array.dtype, lambda: array, origin)


@dataclasses.dataclass(frozen=True)
class Source:
  """What one input of an import brings.

  Attributes:
    tensors: Canonical name -> tensor; each will be put to use or reported.
    parts: What it says about the model: any of "encoder", "projector",
      "llama", "lora" -> the dataclass of models/.
    carried: Tensors that ours has no use for but an export gives back, by
      canonical name.
    tokenizer: Its tokenizer (data/tokenizer.py), None if it has none.
    notes: Lines for the user: what was dropped, inferred or changed.
  """

  tensors: Mapping[str, Tensor]
  parts: Mapping[str, Any]
  carried: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
  tokenizer: Any = None
  notes: tuple[str, ...] = ()


def problem_table(rows: Iterable[tuple[str, str, str]]) -> str:
  """Lays out (problem, tensor, detail) rows, sorted, in aligned columns."""
  rows = sorted(rows)
  widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
  return "\n".join(
    f"  {kind:{widths[0]}}  {name:{widths[1]}}  {detail}".rstrip()
    for kind, name, detail in rows
  )
