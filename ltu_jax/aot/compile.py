"""Compiles the real training and decoding steps from shapes alone."""

import dataclasses
import functools
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltu_jax import decoding, optim
from ltu_jax.aot import hlo, work
from ltu_jax.aot.topologies import GIB, Topology, devices
from ltu_jax.audio.augment import Augment
from ltu_jax.audio.fbank import CLIP_SAMPLES
from ltu_jax.models.ltu import LtuConfig, abstract
from ltu_jax.sharding import (
  abstract_with_sharding,
  batch_sharding,
  make_mesh,
  micro_batch_sharding,
)
from ltu_jax.train_state import abstract_state, split_params
from ltu_jax.train_step import make_train_step

# A search looks at one model on many meshes, and tracing it takes a second.
_abstract = functools.lru_cache(abstract)


class PlanError(ValueError):
  """A plan that cannot be compiled; the message says what to change."""


@dataclasses.dataclass(frozen=True)
class Plan:
  """What to compile.

  Attributes:
    model: sizes, remat and number types.
    topology: where.
    mesh: chips along data, fsdp and tensor; one of them may be -1.
    batch: rows of a step.
    micro_batches: parts of the batch.
    text_tokens: T.
    trainable: regexes of the trained parameters.
    loss_norm: see train_step.
    max_grad_norm: see train_step.
    augment: see train_step.
    loss_chunk: see train_step.
    row_questions: mean number of questions of a row.
  """

  model: LtuConfig
  topology: Topology
  mesh: Mapping[str, int]
  batch: int
  micro_batches: int
  text_tokens: int
  trainable: Sequence[str]
  loss_norm: str = "tokens"
  max_grad_norm: float = 1.0
  augment: Augment | None = None
  loss_chunk: int = 0
  row_questions: float = 1.0


@dataclasses.dataclass(frozen=True)
class Result:
  """What the compiler says of one program, on one chip.

  Attributes:
    argument_bytes: weights, optimiser and batch.
    temporary_bytes: what it needs beside them.
    output_bytes: results that do not take an argument's place.
    code_bytes: the program.
    capacity_bytes: memory that a program may use.
    missing_bytes: by how much it does not fit; 0 where it does.
    seconds: lowering and compilation.
    collectives: see hlo.
    parts: what it computes; see work.
  """

  argument_bytes: float
  temporary_bytes: float = 0
  output_bytes: float = 0
  code_bytes: float = 0
  capacity_bytes: float = 0
  missing_bytes: float = 0
  seconds: float = 0
  collectives: tuple[hlo.Collective, ...] = ()
  parts: tuple[work.Work, ...] = ()

  @property
  def fits(self) -> bool:
    """Whether it can run."""
    return not self.missing_bytes

  @property
  def total_bytes(self) -> float:
    """All that lies in a chip's memory at once."""
    parts = (self.argument_bytes, self.temporary_bytes, self.output_bytes)
    return sum(parts) + self.code_bytes


def mesh_of(plan: Plan) -> Mesh:
  """The plan's mesh; with several slices, the data axis goes over them.

  Raises:
    PlanError: no batch, or one that the mesh does not divide.
    ShardingError: see `make_mesh`.
    TopologyError: see topologies.
  """
  if min(plan.batch, plan.micro_batches) < 1:
    raise PlanError(
      f"a batch of {plan.batch} in {plan.micro_batches} micro-batches: both "
      "must be 1 or more"
    )
  mesh = make_mesh(plan.mesh, devices(plan.topology))
  rows = plan.batch // plan.micro_batches
  ways = mesh.shape["data"] * mesh.shape["fsdp"]
  if rows * plan.micro_batches != plan.batch or rows % ways:
    raise PlanError(
      f"a batch of {plan.batch} in {plan.micro_batches} micro-batches does not "
      f"divide over data * fsdp = {ways}; choose a batch that is a multiple of "
      f"{ways * plan.micro_batches}, fewer micro-batches, or a larger tensor "
      "axis"
    )
  return mesh


def train_arguments(plan: Plan, mesh: Mesh) -> tuple:
  """Shapes of the training step: graphdef, state, frozen, batch, schedule."""
  graphdef, params = _abstract(plan.model)
  params = abstract_with_sharding(params, mesh)
  trainable, frozen = split_params(params, plan.trainable)
  state = abstract_state(trainable, mesh)
  rows = micro_batch_sharding(mesh)
  lead = (plan.micro_batches, plan.batch // plan.micro_batches)
  of = lambda dtype, *rest: jax.ShapeDtypeStruct(
    (*lead, *rest), dtype, sharding=rows
  )
  text = plan.text_tokens
  batch = {
    "pcm": of(jnp.int16, CLIP_SAMPLES),
    "num_samples": of(jnp.int32),
    "tokens": of(jnp.int32, text),
    "positions": of(jnp.int32, text),
    "segment_ids": of(jnp.int32, text),
    "loss_weights": of(jnp.float32, text),
  }
  everywhere = NamedSharding(mesh, PartitionSpec())
  scalar = lambda dtype: jax.ShapeDtypeStruct((), dtype, sharding=everywhere)
  schedule = optim.Schedule(
    scalar(jnp.float32), scalar(jnp.int32), scalar(jnp.int32)
  )
  return graphdef, state, frozen, batch, schedule


def tree_bytes(tree: object, on_all: bool = False) -> float:
  """Bytes of a tree of shapes with shardings, on one device.

  Args:
    tree: the shapes.
    on_all: count every number once instead, wherever it lies.
  """
  total = 0.0
  for leaf in jax.tree.leaves(tree):
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      shape = leaf.shape if on_all else leaf.sharding.shard_shape(leaf.shape)
      # NumPy's itemsize counts a 4-bit integer as a byte.
      total += math.prod(shape) * jax.dtypes.itemsize_bits(leaf.dtype) / 8
  return total


def train(plan: Plan) -> Result:
  """Compiles the training step.

  Raises:
    PlanError: see `mesh_of`.
    ShardingError: a parameter that the mesh cannot divide.
    TopologyError: see topologies.
  """
  mesh = mesh_of(plan)
  graphdef, state, frozen, batch, schedule = train_arguments(plan, mesh)
  step = make_train_step(
    graphdef,
    state["trainable"],
    frozen,
    mesh,
    loss_norm=plan.loss_norm,
    max_grad_norm=plan.max_grad_norm,
    augment=plan.augment,
    loss_chunk=plan.loss_chunk,
  )
  arguments = tree_bytes((state, frozen, batch))
  lower = lambda: step.lower(state, frozen, batch, schedule)
  return _compile(lower, arguments, plan.topology.chip.usable_bytes)


def decode(
  plan: Plan, rows: int, prompt_tokens: int = 64, new_tokens: int = 64
) -> Result:
  """Compiles greedy decoding: prefill and the loop of one token a turn.

  Args:
    plan: its batch is not used.
    rows: prompts answered at once, each with a clip.
    prompt_tokens: slots of the prompt.
    new_tokens: slots of the answer.

  Raises:
    PlanError: rows that the mesh cannot divide.
  """
  plan = dataclasses.replace(plan, batch=rows, micro_batches=1)
  mesh = mesh_of(plan)
  graphdef, params = _abstract(plan.model)
  params = abstract_with_sharding(params, mesh)
  cut = batch_sharding(mesh)
  everywhere = NamedSharding(mesh, PartitionSpec())
  of = lambda dtype, *rest: jax.ShapeDtypeStruct(
    (rows, *rest), dtype, sharding=cut
  )
  scalar = lambda dtype: jax.ShapeDtypeStruct((), dtype, sharding=everywhere)
  inputs = decoding.Inputs(
    pcm=of(jnp.int16, CLIP_SAMPLES),
    fbank=None,
    num_samples=of(jnp.int32),
    tokens=of(jnp.int32, prompt_tokens),
    lengths=of(jnp.int32),
    keys=of(jax.eval_shape(lambda: jax.random.key(0)).dtype),
  )
  floats, ints = scalar(jnp.float32), scalar(jnp.int32)
  settings = decoding.Settings(floats, ints, floats, floats, ints, ints)

  def lower():
    with jax.set_mesh(mesh):
      return decoding.decode.lower(
        nnx.merge(graphdef, params),
        inputs,
        settings,
        slots=new_tokens,
        greedy=True,
        trace=False,
      )

  arguments = tree_bytes((params, inputs))
  return _compile(lower, arguments, plan.topology.chip.usable_bytes)


def _compile(
  lower: Callable, argument_bytes: float, usable_bytes: float
) -> Result:
  start = time.time()
  lowered = lower()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    missing = out_of_memory(str(error))
    if missing is None:
      raise
    needed, capacity = missing
    return Result(
      argument_bytes,
      temporary_bytes=max(0.0, needed - argument_bytes),
      capacity_bytes=capacity,
      missing_bytes=needed - capacity,
      seconds=time.time() - start,
    )
  seconds = time.time() - start
  memory = compiled.memory_analysis()
  text = compiled.as_text()
  result = Result(
    memory.argument_size_in_bytes,
    temporary_bytes=memory.temp_size_in_bytes,
    output_bytes=memory.output_size_in_bytes - memory.alias_size_in_bytes,
    code_bytes=memory.generated_code_size_in_bytes,
    seconds=seconds,
    collectives=tuple(hlo.collectives(text)),
    parts=tuple(work.work(text)),
  )
  # libtpu 0.0.42.1 let a step through whose parts are 0.7 GiB too large.
  missing = max(0.0, result.total_bytes - usable_bytes)
  return dataclasses.replace(
    result, capacity_bytes=usable_bytes, missing_bytes=missing
  )


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}


def out_of_memory(message: str) -> tuple[float, float] | None:
  """Bytes needed and bytes there are, from the compiler's complaint.

  It has two forms: "Used 20.50G of 15.75G hbm", and "the total memory required
  for HLO temporaries (32.90G) exceeds available HBM (15.75G)", which counts the
  arguments too.

  Returns:
    (needed, capacity), or None for another error.
  """
  size = r"([\d.]+)([KMGT]?)"
  forms = (
    rf"Used {size}i?B? of {size}i?B? hbm",
    rf"temporaries \({size}i?B?\) exceeds available HBM \({size}i?B?\)",
  )
  for form in forms:
    if found := re.search(form, message):
      a, unit_a, b, unit_b = found.groups()
      return float(a) * _UNITS[unit_a], float(b) * _UNITS[unit_b]
  return None
