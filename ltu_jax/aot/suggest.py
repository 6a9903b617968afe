"""Searches meshes, micro-batches and remat for the fastest that fits."""

import dataclasses
from collections.abc import Callable, Iterator

from ltu_jax.aot import roofline
from ltu_jax.aot.compile import (
  Plan,
  PlanError,
  Result,
  mesh_of,
  train,
  train_arguments,
  tree_bytes,
)
from ltu_jax.sharding import ShardingError


def candidates(plan: Plan) -> Iterator[Plan]:
  """Plans with the same batch, cheapest arithmetic first.

  Less recomputation, then fewer micro-batches, then less tensor parallelism:
  the order in which a step loses speed.
  """
  chips = plan.topology.num_chips * plan.topology.chip.devices
  for remat in ("dots", "full"):
    llama = dataclasses.replace(plan.model.llama, remat=remat)
    model = dataclasses.replace(plan.model, llama=llama)
    for micro in (1, 2, 4, 8, 16):
      for tensor in (1, 2, 4, 8):
        if chips % (tensor * plan.topology.slices) == 0:
          mesh = {
            "data": plan.topology.slices,
            "fsdp": chips // tensor // plan.topology.slices,
            "tensor": tensor,
          }
          yield dataclasses.replace(
            plan, model=model, micro_batches=micro, mesh=mesh
          )


def search(
  plan: Plan,
  tell: Callable[[str], None],
  limit: int = 8,
  compile_plan: Callable[[Plan], Result] = train,
) -> tuple[Plan, Result] | None:
  """Tries candidates until some fit; returns the fastest by its bound.

  What does not divide, or whose arguments alone fill the chip, is told and not
  compiled.

  Args:
    plan: what is asked for; its batch stays.
    tell: takes a line for each that was tried.
    limit: compilations at most.
    compile_plan: compiles one.

  Returns:
    The plan and its result, or None if none fitted.
  """
  best = None
  compiled = 0
  chip = plan.topology.chip
  for option in candidates(plan):
    name = (
      f"mesh {dict(option.mesh)}, {option.micro_batches} micro-batches, remat "
      f"{option.model.llama.remat}"
    )
    try:
      mesh = mesh_of(option)
      _, state, frozen, batch, _ = train_arguments(option, mesh)
    except (PlanError, ShardingError) as error:
      tell(f"{name}: {error}")
      continue
    arguments = tree_bytes((state, frozen, batch))
    if arguments > chip.hbm_bytes / chip.devices:
      tell(f"{name}: arguments alone are {arguments / 2**30:.2f} GiB")
      continue
    if compiled == limit:
      break
    result = compile_plan(option)
    compiled += 1
    if not result.fits:
      tell(f"{name}: too large by {result.missing_bytes / 2**30:.2f} GiB")
      continue
    bounds = roofline.bounds(option, result)
    tell(f"{name}: fits, {bounds.rate():.0f} questions/s ({bounds.limit})")
    if best is None or bounds.rate() > best[2]:
      best = (option, result, bounds.rate())
    if bounds.limit == "compute":
      # What follows computes as much or more.
      break
  return best[:2] if best else None
