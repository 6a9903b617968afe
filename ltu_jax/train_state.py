"""What training carries: the stage's trainable part, its optimiser, a key.

The frozen part is kept apart: it has no gradient, no optimiser state, and is
not in the checkpoints.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ltu_jax import guard, optim
from ltu_jax.models.ltu import (
  PART_TYPES,
  LtuConfig,
  abstract,
  build,
  part_of,
)
from ltu_jax.sharding import abstract_with_sharding, path_name, shardings

TrainState = dict[str, Any]
"""{"trainable": nnx.State, "opt": optax state, "step": int32, "rng": key,
"guard": what guard.py remembers}."""


class PartitionError(ValueError):
  """A trainable pattern that matches no parameter, or one of integers."""


def abstract_params(cfg: LtuConfig, mesh: Mesh) -> nnx.State:
  """All parameters as shapes with their shardings on the mesh.

  Raises:
    ShardingError: a parameter that no rule covers or the mesh cannot divide.
  """
  return abstract_with_sharding(abstract(cfg)[1], mesh)


def init_params(
  cfg: LtuConfig,
  mesh: Mesh,
  key: jax.Array,
  parts: Collection[str] = tuple(PART_TYPES),
) -> nnx.State:
  """Start values, made on the devices that will hold them.

  Args:
    cfg: the model.
    mesh: the mesh.
    key: decides the values; a part's do not depend on which others are made.
    parts: parts of the model to make; all by default.
  """
  target = shardings(split_parts(abstract_params(cfg, mesh), parts)[0])
  # What is not returned is not computed.
  make = lambda key: split_parts(nnx.state(build(cfg, key)), parts)[0]
  return jax.jit(make, out_shardings=target)(key)


def split_parts(
  params: nnx.State, parts: Collection[str]
) -> tuple[nnx.State, nnx.State]:
  """Splits parameters into those of the named parts, and the others."""
  chosen = lambda path, _: part_of(path_name(path)) in parts
  return nnx.split_state(params, chosen, ...)


def split_params(
  params: nnx.State, patterns: Sequence[str]
) -> tuple[nnx.State, nnx.State]:
  """Splits parameters into (trainable, frozen) by path regexes.

  Args:
    params: arrays or shapes.
    patterns: regexes searched in paths such as `llama/layers/q_proj/lora_a`.

  Raises:
    PartitionError: names each pattern that matches nothing, or a parameter
      that is kept as integers.
  """
  paths = [path_name(path) for path, _ in nnx.to_flat_state(params)]
  dead = [p for p in patterns if not any(re.search(p, q) for q in paths)]
  if dead or not patterns:
    parts = sorted({"/".join(q.split("/")[:2]) for q in paths})
    raise PartitionError(
      f"trainable: no parameter matches {dead or 'an empty list'}; "
      f"parameters start with {', '.join(parts)}"
    )
  chosen = lambda path, _: any(re.search(p, path_name(path)) for p in patterns)
  trainable, frozen = nnx.split_state(params, chosen, ...)
  for path, variable in nnx.to_flat_state(trainable):
    dtype = variable.get_value().dtype
    if not jnp.issubdtype(dtype, jnp.floating):
      raise PartitionError(
        f"trainable: {path_name(path)} cannot be trained as {dtype}; set "
        "config.model.llama.base_dtype to '', or train other parameters"
      )
  return trainable, frozen


def overlay(params: nnx.State, part: nnx.State | Mapping) -> nnx.State:
  """Replaces the parameters that `part` has; the others stay."""
  part = nnx.to_pure_dict(part) if isinstance(part, nnx.State) else part
  new = dict(_flat(part))
  return nnx.from_flat_state(
    (path, var.replace(new.get(path_name(path), var.get_value())))
    for path, var in nnx.to_flat_state(params)
  )


def _flat(tree: Mapping, prefix: str = "") -> list[tuple[str, Any]]:
  out = []
  for name, value in tree.items():
    path = f"{prefix}{name}"
    nested = isinstance(value, Mapping)
    out += _flat(value, path + "/") if nested else [(path, value)]
  return out


def new_state(trainable: nnx.State, rng: jax.Array, mesh: Mesh) -> TrainState:
  """A stage's first state: given parameters, fresh optimiser, step 0."""
  tx = optim.adam()
  target = abstract_state(trainable, mesh)["opt"]
  init = jax.jit(tx.init, out_shardings=shardings(target))
  everywhere = NamedSharding(mesh, PartitionSpec())
  return {
    "trainable": trainable,
    "opt": init(trainable),
    "step": jax.device_put(jnp.int32(0), everywhere),
    # device_put takes no key to the devices of other processes.
    "rng": jax.jit(lambda key: key, out_shardings=everywhere)(rng),
    "guard": jax.device_put(guard.start(), everywhere),
  }


def abstract_state(trainable: nnx.State, mesh: Mesh) -> TrainState:
  """The shapes and shardings of a state with this trainable part.

  Adam's moments lie as their parameters do; a bare `jit(tx.init)` would
  replicate them.
  """
  tx = optim.adam()
  everywhere = NamedSharding(mesh, PartitionSpec())
  struct = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
  shapes = jax.tree.map(lambda x: struct(x, x.sharding), trainable)
  opt = optax.tree_utils.tree_map_params(
    tx,
    lambda moment, param: struct(moment, param.sharding),
    jax.eval_shape(tx.init, shapes),
    shapes,
    transform_non_params=lambda x: struct(x, everywhere),
  )
  key = jax.eval_shape(lambda: jax.random.key(0))
  return {
    "trainable": shapes,
    "opt": opt,
    "step": jax.ShapeDtypeStruct((), jnp.int32, sharding=everywhere),
    "rng": struct(key, everywhere),
    "guard": jax.tree.map(
      lambda x: struct(x, everywhere), jax.eval_shape(guard.start)
    ),
  }


def to_pure(state: Mapping[str, Any]) -> dict[str, Any]:
  """A train state as plain dicts and tuples, for the checkpoint."""
  opt = state["opt"]
  pure = nnx.to_pure_dict
  return {
    **state,
    "trainable": pure(state["trainable"]),
    "opt": opt._replace(mu=pure(opt.mu), nu=pure(opt.nu)),
  }


def from_pure(
  pure: Mapping[str, Any], like: Mapping[str, Any]
) -> dict[str, Any]:
  """The inverse of `to_pure`; `like` gives the structure."""
  opt, like_opt = pure["opt"], like["opt"]
  return {
    **pure,
    "trainable": overlay(like["trainable"], pure["trainable"]),
    "opt": opt._replace(
      mu=overlay(like_opt.mu, opt.mu), nu=overlay(like_opt.nu, opt.nu)
    ),
  }
