"""Published weights -> ours: what is missing or wrong, and each parameter."""

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping

import jax
import numpy as np
from flax import nnx

from ltu_jax.convert.names import (
  PREFIX,
  expected,
  is_carried,
  published_shape,
  to_ours,
)
from ltu_jax.convert.tensors import (
  ConversionError,
  Tensor,
  of_array,
  problem_table,
)
from ltu_jax.models.ltu import PART_TYPES, LtuConfig, abstract
from ltu_jax.sharding import path_name


@dataclasses.dataclass(frozen=True)
class Entry:
  """One parameter, or one layer of a stacked one, and where it comes from.

  Attributes:
    path: Our path, such as `llama/layers/q_proj/w`.
    layer: Which layer; None outside the stacks.
    name: Its canonical name.
    shape: Its shape here, of one layer.
    dtype: Its dtype here.
  """

  path: str
  layer: int | None
  name: str
  shape: tuple[int, ...]
  dtype: np.dtype


def entries(cfg: LtuConfig, parts: Collection[str]) -> Iterator[Entry]:
  """Everything that the named parts of a model consist of."""
  values = _values(cfg)
  for path, layer, name in expected(cfg, parts):
    value = values[path]
    shape = value.shape if layer is None else value.shape[1:]
    yield Entry(path, layer, name, shape, np.dtype(value.dtype))


@functools.lru_cache(maxsize=8)
def _values(cfg: LtuConfig) -> dict[str, jax.ShapeDtypeStruct]:
  """Our path -> shape and dtype of every parameter."""
  return {
    path_name(path): variable.get_value()
    for path, variable in nnx.to_flat_state(abstract(cfg)[1])
  }


def problems(
  cfg: LtuConfig, parts: Collection[str], tensors: Mapping[str, Tensor]
) -> list[tuple[str, str, str]]:
  """Compares what is given with what the model needs; reads no data.

  Args:
    cfg: The model.
    parts: The parts that have to be whole.
    tensors: Canonical name -> tensor.

  Returns:
    Rows of (missing, mis-shaped or unexpected; name; detail).
  """
  rows, left = [], dict(tensors)
  for entry in entries(cfg, parts):
    want = published_shape(entry.path, entry.shape, cfg.encoder)
    given = left.pop(entry.name, None)
    if given is None:
      rows.append(("missing", entry.name, f"{_shape(want)} is needed"))
    elif tuple(given.shape) != want:
      rows.append(
        (
          "mis-shaped",
          entry.name,
          f"{_shape(given.shape)} in {given.origin}, the model has "
          f"{_shape(want)}",
        )
      )
  for name, tensor in left.items():
    detail = f"{_shape(tensor.shape)} in {tensor.origin}"
    rows.append(("unexpected", name, detail))
  return rows


def _shape(shape: Collection[int]) -> str:
  return f"[{', '.join(map(str, shape))}]"


def import_state_dict(
  state: nnx.State, cfg: LtuConfig, tensors: Mapping[str, np.ndarray]
) -> nnx.State:
  """Fills an (abstract) state of LTU with published weights in memory.

  Args:
    state: `nnx.state(model)`, arrays or shapes; gives shapes and dtypes.
    cfg: the model's config.
    tensors: published name (with or without PREFIX) -> array.

  Returns:
    The same state with numpy arrays of our dtypes as values.

  Raises:
    ConversionError: lists every missing, unexpected, mis-shaped tensor.
  """
  parts = [p for p in PART_TYPES if p != "lora" or cfg.lora.rank]
  given = {
    name.removeprefix(PREFIX): of_array(array, name)
    for name, array in tensors.items()
    if not is_carried(name)
  }
  if rows := problems(cfg, parts, given):
    raise ConversionError("cannot import:\n" + problem_table(rows))
  found: dict[str, list[np.ndarray]] = {}
  for entry in entries(cfg, parts):
    array = given[entry.name].read()
    ours = to_ours(entry.path, array, entry.shape, entry.dtype)
    found.setdefault(entry.path, []).append(ours)
  flat = []
  for path, variable in nnx.to_flat_state(state):
    arrays = found[path_name(path)]
    stacked = arrays[0].ndim < len(variable.get_value().shape)
    array = np.stack(arrays) if stacked else arrays[0]
    flat.append((path, variable.replace(array)))
  return nnx.from_flat_state(flat)
