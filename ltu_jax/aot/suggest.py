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
from ltu_jax.aot.topologies import GIB
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


def would_fit(plan: Plan, result: Result) -> list[str]:
  """What would make a plan fit that does not, a line each.

  Sizes of arguments are exact; temporaries are taken to grow with the rows of a
  device. `search` compiles instead.
  """
  room, arguments = result.capacity_bytes, result.argument_bytes
  size = lambda number: f"(about {number / GIB:.2f} GiB)"
  mesh = mesh_of(plan)
  ways = mesh.shape["data"] * mesh.shape["fsdp"]
  rows = plan.batch // plan.micro_batches // ways
  lines = []
  for share in (2, 4, 8, 16, 32):
    total = arguments + result.temporary_bytes / share
    if total <= room and rows % share == 0:
      micro = plan.micro_batches * share
      lines.append(f"--config.data.micro_batches={micro} {size(total)}")
      lines.append(f"--batch={plan.batch // share} {size(total)}")
      break
  _, _, frozen, _, _ = train_arguments(plan, mesh)
  total = result.total_bytes - tree_bytes(frozen) / 2
  if total <= room:
    lines.append(f"a frozen base in int8 {size(total)}")
  chips = plan.topology.num_chips * plan.topology.chip.devices
  shape = {"data": plan.topology.slices, "tensor": 1}
  shape["fsdp"] = chips // plan.topology.slices
  if shape["fsdp"] > mesh.shape["fsdp"]:
    option = dataclasses.replace(plan, mesh=shape)
    _, state, frozen, batch, _ = train_arguments(option, mesh_of(option))
    held = tree_bytes((state, frozen, batch))
    if held + result.temporary_bytes <= room:
      lines.append(
        f"--mesh=data{shape['data']},fsdp{shape['fsdp']},tensor1 "
        f"{size(held + result.temporary_bytes)}"
      )
  if plan.model.llama.remat != "full":
    lines.append("--config.model.llama.remat=full, which keeps layer inputs")
  return lines
