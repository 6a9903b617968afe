"""Searches base dtype, remat, micro-batches and mesh: the fastest that fits."""

import dataclasses
import re
from collections.abc import Callable, Iterator

from ltu_jax.aot import report, roofline
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

BASE_DTYPES = ("int8", "int4")
"""What a frozen base may be kept in to save memory, the most exact first."""


def _with_llama(plan: Plan, **fields) -> Plan:
  llama = dataclasses.replace(plan.model.llama, **fields)
  return dataclasses.replace(
    plan, model=dataclasses.replace(plan.model, llama=llama)
  )


REMATS = (("dots", "dots"), ("dots", "full"), ("full", "full"))
"""What remat of decoder and encoder may be, least recomputation first.

A byte that is kept saves as many FLOPs as its part is wide: 4096 in LTU-7B's
decoder, 768 in its encoder."""


def _with_remat(plan: Plan, decoder: str, encoder: str) -> Plan:
  encoder = dataclasses.replace(plan.model.encoder, remat=encoder)
  model = dataclasses.replace(plan.model, encoder=encoder)
  return _with_llama(dataclasses.replace(plan, model=model), remat=decoder)


def _remats(plan: Plan) -> tuple[str, str]:
  return plan.model.llama.remat, plan.model.encoder.remat


def smaller_bases(plan: Plan) -> list[Plan]:
  """The plan with its base in fewer bits; none if it is, or is trained."""
  if plan.model.llama.base_dtype or _trains_base(plan):
    return []
  return [_with_llama(plan, base_dtype=dtype) for dtype in BASE_DTYPES]


def _trains_base(plan: Plan) -> bool:
  """Whether a pattern of the plan trains a matrix of the decoder's layers."""
  return any(
    re.search(pattern, "llama/layers/q_proj/w") for pattern in plan.trainable
  )


def candidates(plan: Plan) -> Iterator[Plan]:
  """Plans with the same batch and base, cheapest arithmetic first.

  Less recomputation, then fewer micro-batches: with the same tensor axis what
  comes later computes as much or more, and reads and gathers weights as often
  or more.
  """
  topology = plan.topology
  trained = roofline.trained(plan.model, tuple(plan.trainable))
  for remats in REMATS:
    if remats[1] != remats[0] and "encoder" not in trained:
      continue  # a frozen encoder keeps nothing, whatever its policy
    option = _with_remat(plan, *remats)
    for micro in (1, 2, 4, 8, 16):
      for tensor in (1, 2, 4, 8):
        if topology.num_devices % (tensor * topology.slices) == 0:
          mesh = {
            "data": topology.slices,
            "fsdp": topology.num_devices // tensor // topology.slices,
            "tensor": tensor,
          }
          yield dataclasses.replace(option, micro_batches=micro, mesh=mesh)


def describe(plan: Plan) -> str:
  """What a search varies, in one line."""
  base = plan.model.llama.base_dtype
  mesh = ", ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
  return (
    f"mesh {mesh}; {plan.micro_batches} micro-batches; remat "
    f"{report.remat(plan)}" + (f"; base {base}" if base else "")
  )


def search(
  plan: Plan,
  tell: Callable[[str], None],
  limit: int = 12,
  compile_plan: Callable[[Plan], Result] = train,
) -> tuple[Plan, Result]:
  """Tries candidates until some fit; returns the fastest by its bound.

  The base is kept in fewer bits only where nothing else fits. What follows one
  that fits, with the same tensor axis, is slower and not tried. Not compiled,
  but told: what does not divide, and what cannot fit, by its arguments or by
  what a larger part of the batch left over.

  Args:
    plan: what is asked for; its batch stays.
    tell: takes a line for each that was tried.
    limit: compilations of a base dtype at most.
    compile_plan: compiles one.

  Raises:
    PlanError: nothing fits.
  """
  for start in (plan, *smaller_bases(plan)):
    found = _search(start, tell, limit, compile_plan)
    if found:
      return found
  raise PlanError(
    "--suggest: nothing fits; take a smaller --batch or more chips"
  )


def _search(
  plan: Plan,
  tell: Callable[[str], None],
  limit: int,
  compile_plan: Callable[[Plan], Result],
) -> tuple[Plan, Result] | None:
  best = None
  compiled = 0
  # Tensor axes of which nothing that follows is of use.
  closed: set[int] = set()
  # Temporaries of what did not fit: (remats, tensor) -> (micro-batches, bytes).
  known: dict[tuple, tuple[int, float]] = {}
  room = plan.topology.chip.usable_bytes
  for option in candidates(plan):
    if option.mesh["tensor"] in closed:
      continue
    name = describe(option)
    try:
      mesh = mesh_of(option)
      _, state, frozen, batch, _ = train_arguments(option, mesh)
    except PlanError as error:
      tell(f"{name}: {error}")
      continue
    except ShardingError as error:
      tell(f"tensor {option.mesh['tensor']}: {error}")
      closed.add(option.mesh["tensor"])
      continue
    arguments = tree_bytes((state, frozen, batch))
    if arguments > room:
      tell(f"{name}: arguments alone are {arguments / GIB:.2f} GiB")
      continue
    kind = (_remats(option), option.mesh["tensor"])
    if kind in known:
      micro, size = known[kind]
      least = arguments + size * micro / option.micro_batches
      if least > room:
        tell(f"{name}: {least / GIB:.2f} GiB or more")
        continue
    if compiled == limit:
      tell(f"stopped after {limit} compilations")
      break
    result = compile_plan(option)
    compiled += 1
    if not result.fits:
      known[kind] = (option.micro_batches, result.temporary_bytes)
      tell(f"{name}: too large by {result.missing_bytes / GIB:.2f} GiB")
      continue
    closed.add(option.mesh["tensor"])
    bounds = roofline.bounds(option, result)
    tell(f"{name}: fits, {bounds.rate():.0f} questions/s ({bounds.limit})")
    if best is None or bounds.rate() > best[2]:
      best = (option, result, bounds.rate())
    if bounds.limit == "compute":
      # What follows computes as much or more.
      break
  return best[:2] if best else None


def fewest_micro_batches(
  plan: Plan,
  guess: Result,
  compile_plan: Callable[[Plan], Result] = train,
  compiled: bool = True,
) -> tuple[Plan, Result] | None:
  """Cuts the batch until a plan fits.

  Args:
    plan: what does not fit, or was not compiled.
    guess: its sizes.
    compile_plan: compiles one.
    compiled: whether `guess` is what the compiler said of the plan.

  Returns:
    The plan and its result, or None where no number is enough.
  """
  share = 2 if compiled else 1
  while not guess.fits:
    micro = _enough(plan, guess, share)
    if micro is None:
      return None
    plan = dataclasses.replace(plan, micro_batches=micro)
    guess, share = compile_plan(plan), 2
  return plan, guess


def _enough(plan: Plan, result: Result, share: int) -> int | None:
  """The fewest micro-batches, `share` times as many or more, that may fit.

  Temporaries shrink with the rows of a device at best.
  """
  mesh = mesh_of(plan)
  rows = plan.batch // plan.micro_batches
  rows //= mesh.shape["data"] * mesh.shape["fsdp"]
  for times in range(share, rows + 1):
    size = result.argument_bytes + result.temporary_bytes / times
    if rows % times == 0 and size <= result.capacity_bytes:
      return plan.micro_batches * times
  return None


def would_fit(
  plan: Plan,
  result: Result,
  compile_plan: Callable[[Plan], Result] = train,
) -> list[str]:
  """What makes a plan fit that does not, a line each; each was compiled.

  Tried one by one, with as few micro-batches as do: more of them alone, a base
  in fewer bits, all devices along fsdp, and remat.
  """
  options = [("", plan)]
  for option in smaller_bases(plan):
    dtype = option.model.llama.base_dtype
    options.append((f"--config.model.llama.base_dtype={dtype}", option))
  mesh = {"data": plan.topology.slices, "tensor": 1}
  mesh["fsdp"] = plan.topology.num_devices // plan.topology.slices
  if mesh["fsdp"] > mesh_of(plan).shape["fsdp"]:
    flag = f"--mesh=data{mesh['data']},fsdp{mesh['fsdp']},tensor1"
    options.append((flag, dataclasses.replace(plan, mesh=mesh)))
  if _remats(plan) != ("full", "full"):
    flag = "--config.model.llama.remat=full --config.model.encoder.remat=full"
    options.append((flag, _with_remat(plan, "full", "full")))
  lines = []
  for flag, option in options:
    if "base_dtype" in flag and any("base_dtype" in line for line in lines):
      continue
    try:
      guess = result
      if option is not plan:
        size = _argument_bytes(option)
        guess = dataclasses.replace(result, argument_bytes=size)
      found = fewest_micro_batches(option, guess, compile_plan, option is plan)
    except (PlanError, ShardingError):
      continue
    if found:
      micro = found[0].micro_batches
      if micro != plan.micro_batches:
        # As many rows at a time, without the others.
        batch = plan.batch * plan.micro_batches // micro
        flag += f" --config.data.micro_batches={micro} (or --batch={batch})"
        flag = flag.strip()
      lines.append(f"{flag}: {found[1].total_bytes / GIB:.2f} GiB")
  return lines


def _argument_bytes(plan: Plan) -> float:
  _, state, frozen, batch, _ = train_arguments(plan, mesh_of(plan))
  return tree_bytes((state, frozen, batch))
