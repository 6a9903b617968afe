"""The flags by which ask, serve and evaluate name a model, and its loading."""

import argparse
from typing import TYPE_CHECKING

from ltu_jax import compile_cache

if TYPE_CHECKING:
  from jax.sharding import Mesh

  from ltu_jax.trained import Trained

# What imports JAX is imported late, so that a mistyped flag is told at once.


def add(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
  """Adds --workdir or --bundle, and how the model is run.

  Args:
    parser: Of the command.

  Returns:
    The group of flags on the model, for more of them.
  """
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a trained run")
  source.add_argument("--bundle", help="folder that convert export made")
  group = parser.add_argument_group("the model")
  add = group.add_argument
  add(
    "--mesh",
    default="",
    help="devices to use, such as tensor=2,fsdp=4; default: 1 device",
  )
  add(
    "--dtype",
    default="",
    choices=("", "bfloat16", "float32"),
    help="in which it computes; default: as it was trained",
  )
  add(
    "--base_dtype",
    default="",
    choices=("", "int8", "int4"),
    help="round the decoder's matrices: half or a quarter of bfloat16's memory",
  )
  compile_cache.add_flag(add)
  return group


def load(args: argparse.Namespace) -> "tuple[Trained, Mesh | None]":
  """Loads the model that the flags name.

  Args:
    args: The values of the flags.

  Returns:
    The model, and the mesh that it lies on; None for one device.

  Raises:
    ValueError: One of `bundle.LOAD_ERRORS`; its message is all a user needs.
  """
  from ltu_jax.answering_mesh import answering_mesh
  from ltu_jax.bundle import load_model

  mesh = answering_mesh(args.mesh) if args.mesh else None
  trained = load_model(
    args.workdir,
    args.bundle,
    mesh=mesh,
    dtype=args.dtype,
    base_dtype=args.base_dtype,
  )
  return trained, mesh
