"""Base weights in a folder: what training starts from.

BASE/base.json            parts with their sizes, origin, content hash
BASE/weights              Orbax; one array for each tensor of each layer
BASE/tokenizer.*          the tokenizer, if there is one
BASE/carried.safetensors  tensors of the published model without effect

A base may hold only some parts of the model (encoder, projector, llama, lora).
Layers are stored one by one, though the model stacks them: so a model of any
size is written and read a tensor at a time. The folder is made under another
name and renamed when it is whole.

One in a bucket is written in place, and base.json last. Orbax cannot add to
what is in a bucket, so the first process holds all arrays until then.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from orbax.checkpoint import v1 as ocp

from ltu_jax import (
  bucket_store,
  checkpoint_seal,
  checksum,
  json_text,
  processes,
  tree_names,
)
from ltu_jax.checkpoint_step import READ_ERRORS, CheckpointError, reason
from ltu_jax.data.bucket import is_bucket
from ltu_jax.models.ltu import PART_TYPES, STACKS

_FORMAT = "ltu_jax base"
_VERSION = 1

# Written at once: few calls for a small model, little memory for a large one.
_FLUSH_BYTES = 256 << 20

# A device reads the chunks that its shard touches.
_CHUNK_BYTES = 8 << 20


@dataclasses.dataclass(frozen=True)
class BaseInfo:
  """What base.json says.

  Attributes:
    parts: The parts that are there -> their sizes, the dataclasses of models/.
    origin: Lines that say where the weights came from.
    content_hash: SHA-256 over all names, dtypes, shapes and bytes.
    arrays: Stored name -> its dtype and shape, such as float32[2,3], and its
      checksum (checksum.py); empty in a folder from before there were any.
  """

  parts: dict[str, Any]
  origin: tuple[str, ...]
  content_hash: str
  arrays: dict[str, tuple[str, str]]


def stored_name(path: str, layer: int | None = None) -> str:
  """The name under which a parameter, or one layer of it, is stored."""
  if layer is None:
    return path
  stack = next(s for s in STACKS if path.startswith(s))
  return f"{stack}{layer}/{path.removeprefix(stack)}"


def layer_names(
  path: str, shape: Sequence[int]
) -> list[tuple[int | None, str]]:
  """(layer, stored name) of every array that a parameter is stored as.

  Args:
    path: The parameter's path.
    shape: Its shape in the model, with the axis of layers if it is stacked.
  """
  layers = range(shape[0]) if path.startswith(STACKS) else [None]
  return [(layer, stored_name(path, layer)) for layer in layers]


class BaseWriter:
  """Writes a base folder tensor by tensor; the with-block ends it.

  Of several processes all do the same, and the first one writes.

  If the block is left by an error, or the process dies, no folder of the final
  name is there.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    parts: Mapping[str, Any],
    origin: Sequence[str],
  ):
    """Begins.

    Args:
      path: The folder to make.
      parts: Part name -> its sizes, for the parts that will be added.
      origin: Lines that say where the weights come from.

    Raises:
      CheckpointError: The folder exists.
    """
    self._path = bucket_store.path(path)
    if is_there(self._path):
      raise CheckpointError(
        f"{self._path} exists. Choose another folder, or remove it if no "
        "trained run needs it."
      )
    self._in_bucket = is_bucket(self._path)
    if self._in_bucket:
      self._work = pathlib.Path(tempfile.mkdtemp(prefix="ltu_jax-base-"))
    else:
      self._work = self._path.with_name(f"{self._path.name}.incomplete")
    self._parts, self._origin = dict(parts), tuple(origin)
    self._pending: dict[str, np.ndarray] = {}
    self._pending_bytes = 0
    self._digests: dict[str, str] = {}
    self._arrays: dict[str, tuple[str, str]] = {}
    self._saving: ocp.AsyncResponse[None] | None = None

  def __enter__(self) -> "BaseWriter":
    """Makes the working folder; what a killed writer left goes.

    Raises:
      BucketError: The bucket fails.
    """
    if self._in_bucket and jax.process_index() == 0:
      bucket_store.Store(self._path.parent).remove_folder(self._path.name)
    elif jax.process_index() == 0:
      shutil.rmtree(self._work, ignore_errors=True)
      self._work.mkdir(parents=True)
    processes.barrier(f"base {self._path} begins")
    return self

  def __exit__(self, kind: Any, *_: Any) -> None:
    """Makes the folder whole, or removes it after an error."""
    if kind is not None:
      self._pending = {}
      with contextlib.suppress(*READ_ERRORS):  # the first error is the one told
        self._wait()
      if self._in_bucket or jax.process_index() == 0:
        shutil.rmtree(self._work, ignore_errors=True)
      return
    if self._in_bucket:
      self._send()
      return
    self._flush()
    self._wait()
    ocp.partial.finalize(self._work / "weights")
    if jax.process_index() == 0:
      self._describe()
      self._work.rename(self._path)
    processes.barrier(f"base {self._path}")

  def _send(self) -> None:
    """Writes all that waits, then the small files, to a bucket."""
    problem = ""
    try:
      with self._context():
        ocp.save(self._path / "weights", tree_names.nested(self._pending))
      if jax.process_index() == 0:
        self._describe()
        bucket_store.Store(self._path).upload(self._work, last="base.json")
    except bucket_store.BucketError as error:
      problem = str(error)
    except (*READ_ERRORS, *bucket_store.errors()) as error:
      problem = reason(error)
    shutil.rmtree(self._work, ignore_errors=True)
    if problem := processes.any_problem(problem):
      raise CheckpointError(f"{self._path} cannot be written: {problem}")

  def _context(self) -> ocp.Context:
    """How Orbax writes."""
    context = ocp.Context()
    context.memory.deepcopy_host_arrays = False  # nobody changes them
    # Weights are mostly noise: a fifth smaller, for a fifth more time.
    context.array.saving.use_compression = False
    context.array.saving.storage_options.chunk_byte_size = _CHUNK_BYTES
    return context

  def _describe(self) -> None:
    """Writes base.json."""
    found = {
      "format": _FORMAT,
      "version": _VERSION,
      "parts": {k: dataclasses.asdict(v) for k, v in self._parts.items()},
      "origin": self._origin,
      "content_hash": tree_names.combined_hash(self._digests),
      "arrays": self._arrays,
    }
    found["digest"] = checkpoint_seal.digest(found)
    text = json.dumps(found, indent=2) + "\n"
    (self._work / "base.json").write_text(text, encoding="utf-8")

  @property
  def folder(self) -> pathlib.Path:
    """The working folder, for small files that go beside the weights."""
    return self._work

  def add(self, name: str, array: np.ndarray) -> None:
    """Adds one array under its `stored_name`."""
    array = np.ascontiguousarray(array)
    self._digests[name] = tree_names.array_hash(name, array)
    sums = checksum.of_array(array)
    self._arrays[name] = (tree_names.signature(array), sums)
    if self._in_bucket and jax.process_index():
      # Orbax takes numbers of the first process alone, but shapes of all.
      array = np.broadcast_to(np.zeros((), array.dtype), array.shape)
    self._pending[name] = array
    self._pending_bytes += array.nbytes
    if self._pending_bytes >= _FLUSH_BYTES and not self._in_bucket:
      self._flush()

  def _flush(self) -> None:
    """Starts to write what is pending, while the next arrays are made."""
    if not self._pending:
      return
    self._wait()
    with self._context():
      self._saving = ocp.partial.save_async(
        self._work / "weights", tree_names.nested(self._pending)
      )
    self._pending, self._pending_bytes = {}, 0

  def _wait(self) -> None:
    """Waits until what was given to Orbax is written."""
    if self._saving is not None:
      self._saving.result()
      self._saving = None


def save(
  path: str | os.PathLike,
  params: nnx.State | Mapping[str, Any],
  parts: Mapping[str, Any],
  origin: Sequence[str],
) -> None:
  """Writes parameters that are in memory as a base folder.

  To be called by every process; each gets one array after the other whole, and
  the first one writes. What is saved does not depend on how many there are.

  Args:
    path: The folder to make.
    params: Parameters as the model has them, or a nested dict of them.
    parts: Part name -> its sizes.
    origin: Where the weights come from.

  Raises:
    CheckpointError: The folder exists.
  """
  pure = nnx.to_pure_dict(params) if isinstance(params, nnx.State) else params
  with BaseWriter(path, parts, origin) as writer:
    for path_name, array in tree_names.leaves(pure).items():
      for layer, name in layer_names(path_name, array.shape):
        whole = processes.on_host(array if layer is None else array[layer])
        writer.add(name, whole)


def is_there(path: str | os.PathLike) -> bool:
  """Whether a base folder has been written, whatever became of it since.

  Raises:
    BucketError: The bucket cannot be asked.
  """
  if is_bucket(path):
    # What a killed writer had sent lacks its last object.
    return bucket_store.Store(path).has("base.json")
  return pathlib.Path(path).exists()


def info(path: str | os.PathLike) -> BaseInfo:
  """Reads what a base folder holds.

  Raises:
    CheckpointError: No base folder, a damaged one, or a later version's.
  """
  path = bucket_store.path(path)
  try:
    found = json_text.read(path / "base.json")
    if found["format"] != _FORMAT or found["version"] != _VERSION:
      raise ValueError(f"it is {found['format']!r} {found['version']}")
    if found.pop("digest", None) not in (None, checkpoint_seal.digest(found)):
      raise ValueError("it is not what was written")
    parts = {k: _part(k, v) for k, v in found["parts"].items()}
    origin, content_hash = tuple(found["origin"]), found["content_hash"]
    if not all(isinstance(text, str) for text in (*origin, content_hash)):
      raise ValueError("its origin and content_hash must be texts")
    return BaseInfo(
      parts,
      origin,
      content_hash,
      {k: (v[0], v[1]) for k, v in found.get("arrays", {}).items()},
    )
  except (FileNotFoundError, NotADirectoryError) as error:
    raise CheckpointError(
      f"{path}: there are no base weights (no base.json). They are made when a "
      "run starts, or by: python -m ltu_jax.convert import"
    ) from error
  except (AttributeError, ValueError, KeyError, TypeError) as error:
    raise CheckpointError(
      f"{path / 'base.json'} cannot be used: {reason(error)}"
    ) from error


def _part(name: str, values: Mapping[str, Any]) -> Any:
  """The dataclass of a part; lists become tuples."""
  return PART_TYPES[name](
    **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
  )


def stored_tree(path: pathlib.Path) -> Any:
  """Orbax's metadata tree of a base."""
  try:
    return ocp.metadata(path / "weights").metadata
  except (*READ_ERRORS, *bucket_store.errors()) as error:
    raise damaged(path, error) from error


def read_tree(path: pathlib.Path, tree: Any, partial: bool = False) -> Any:
  """Orbax's load with one clear error."""
  context = ocp.Context()
  context.pytree.loading.partial_load = partial
  try:
    with context:
      # `ocp.load` raises a bare Exception for a damaged array, this a KeyError.
      return ocp.load_checkpointables(path / "weights", {"state": tree})[
        "state"
      ]
  except (*READ_ERRORS, *bucket_store.errors()) as error:
    raise damaged(path, error) from error


def damaged(path: pathlib.Path, why: Exception | str) -> CheckpointError:
  """The error for a base whose weights are not what was stored."""
  return CheckpointError(
    f"{path}: the base weights are damaged ({reason(why)}). Make them again:"
    " import them again, or if the run drew them, remove this folder and start"
    " the run again."
  )
