"""What is printed: text, JSON and the table's rows."""

import dataclasses
from collections import defaultdict
from typing import Any

from ltu_jax.aot import roofline
from ltu_jax.aot.compile import Plan, Result
from ltu_jax.aot.topologies import GIB


def _gib(size: float) -> str:
  return f"{size / GIB:.2f}"


def remat(plan: Plan) -> str:
  """Policy of the decoder, and of the encoder where it is another."""
  decoder, encoder = plan.model.llama.remat, plan.model.encoder.remat
  return decoder + (f" (encoder {encoder})" if encoder != decoder else "")


def by_kind(result: Result) -> dict[str, dict[str, Any]]:
  """Kind -> runs, bytes that a chip sends, largest result, all known."""
  groups = defaultdict(list)
  for item in result.collectives:
    groups[item.kind].append(item)
  return {
    kind: {
      "count": sum(i.count for i in items),
      "sent_bytes": sum(i.sent_bytes for i in items),
      "largest_result_bytes": max(i.result_bytes for i in items),
      "all_counts_known": all(i.known for i in items),
    }
    for kind, items in sorted(groups.items())
  }


def sent_bytes(plan: Plan, result: Result) -> float:
  """Bytes that a device sends for a question of the step."""
  sent = sum(item.sent_bytes for item in result.collectives)
  return sent / (plan.batch * plan.row_questions)


def as_json(plan: Plan, result: Result) -> dict[str, Any]:
  """Everything that `text` prints, for programs."""
  chip = plan.topology.chip
  out: dict[str, Any] = {
    "topology": str(plan.topology),
    "chips": plan.topology.num_chips,
    "mesh": dict(plan.mesh),
    "batch": plan.batch,
    "micro_batches": plan.micro_batches,
    "text_tokens": plan.text_tokens,
    "remat": plan.model.llama.remat,
    "encoder_remat": plan.model.encoder.remat,
    "fits": result.fits,
    "argument_bytes": result.argument_bytes,
    "temporary_bytes": result.temporary_bytes,
    "output_bytes": result.output_bytes,
    "code_bytes": result.code_bytes,
    "total_bytes": result.total_bytes,
    # Of a device, which may be half a chip.
    "hbm_bytes": chip.usable_bytes,
    "missing_bytes": result.missing_bytes,
    "compile_seconds": result.seconds,
    "collectives": by_kind(result),
    "sent_bytes_a_question": sent_bytes(plan, result),
    "questions_a_row": plan.row_questions,
    "flops_a_row": dataclasses.asdict(roofline.row(plan)),
    "flops_a_question": {
      name: value / plan.row_questions
      for name, value in dataclasses.asdict(roofline.row(plan)).items()
    },
    "parts": [dataclasses.asdict(part) for part in result.parts],
  }
  if result.fits:
    bounds = roofline.bounds(plan, result)
    out["bounds_seconds"] = dataclasses.asdict(bounds)
    out["limit"] = bounds.limit
    for share in (1.0, 0.5):
      rate = bounds.rate(share)
      out[f"at_{share:.0%}"] = {
        "questions_a_second": rate,
        "stage_hours": roofline.stage_hours(plan, bounds, share),
      }
  return out


def text(plan: Plan, result: Result) -> str:
  """The report of a training step."""
  data = as_json(plan, result)
  flops, each = roofline.row(plan), 1e12 * plan.row_questions
  mesh = ", ".join(f"{k} {v}" for k, v in plan.mesh.items())
  lines = [
    f"training step on {plan.topology} ({plan.topology.num_chips} chips), mesh "
    f"{mesh}",
    f"  batch {plan.batch} in {plan.micro_batches} micro-batches, "
    f"{plan.text_tokens} text tokens, remat {remat(plan)}, compiled "
    f"in {result.seconds:.0f} s",
    memory_line(result),
  ]
  if not result.fits:
    return "\n".join(lines)
  lines.append(
    "  collectives of a step, bytes that a device sends:"
    if data["collectives"]
    else "  no collectives"
  )
  for kind, item in data["collectives"].items():
    unsure = "" if item["all_counts_known"] else " (some loops unknown: x 1)"
    lines.append(
      f"    {kind}: {item['count']}, {_gib(item['sent_bytes'])} GiB, largest "
      f"result {_gib(item['largest_result_bytes'])} GiB{unsure}"
    )
  if data["collectives"]:
    lines.append(f"    {sent_bytes(plan, result) / 2**20:.1f} MiB a question")
  bounds = roofline.bounds(plan, result)
  lines += parts_lines(plan, result)
  lines += [
    f"  a question: {flops.model / each:.2f} model TFLOPs, "
    f"{flops.executed / each:.2f} with what remat repeats",
    f"  a step takes at least: compute {bounds.compute:.3f} s, memory "
    f"{bounds.memory:.3f} s, interconnect {bounds.interconnect:.3f} s; "
    f"{bounds.limit} decides",
  ]
  for share in (1.0, 0.5):
    rate = bounds.rate(share)
    stages = roofline.stage_hours(plan, bounds, share)
    hours = ", ".join(f"stage {n} {h:.1f} h" for n, h in stages.items())
    lines.append(f"  at {share:.0%} of that: {rate:.0f} questions/s; {hours}")
  return "\n".join(lines)


def parts_lines(plan: Plan, result: Result) -> list[str]:
  """What the compiled program computes, beside the formula."""
  products = sum(part.flops for part in result.parts)
  cycles = sum(part.cycles for part in result.parts)
  if not products:
    return []
  share = products * plan.topology.num_devices / plan.batch
  formula = roofline.row(plan).executed
  each = share / plan.row_questions
  lines = [
    f"  products of the program: {each / 1e12:.2f} TFLOPs a question, "
    f"{share / formula:.2%} of the formula"
  ]
  if cycles:
    lines.append(
      f"  {cycles / 1e6:.0f} M cycles by the compiler's estimate, without"
      " waiting; of these, and of the products:"
    )
  for part in sorted(result.parts, key=lambda part: -part.cycles):
    if part.cycles > 0.005 * cycles:
      lines.append(
        f"    {part.kind}, {part.scope}: {part.cycles / cycles:.0%}, "
        f"{part.flops / products:.0%}"
      )
  return lines


def memory_line(result: Result) -> str:
  """Memory of a device, in one line."""
  parts = (
    f"arguments {_gib(result.argument_bytes)} + temporaries "
    f"{_gib(result.temporary_bytes)} + outputs {_gib(result.output_bytes)} + "
    f"code {_gib(result.code_bytes)}"
  )
  if result.fits:
    return (
      f"  fits: {parts} = {_gib(result.total_bytes)} of "
      f"{_gib(result.capacity_bytes)} GiB"
    )
  return (
    f"  OUT OF MEMORY by {_gib(result.missing_bytes)} GiB: needs "
    f"{_gib(result.missing_bytes + result.capacity_bytes)} of "
    f"{_gib(result.capacity_bytes)} GiB that a program may use (arguments "
    f"{_gib(result.argument_bytes)})"
  )


COLUMNS = (
  "slice",
  "model",
  "mesh",
  "micro-batches",
  "HBM a chip, GiB: arguments + temporaries",
  "of",
  "least s a step: compute / memory / links",
  "questions/s",
  "at 50 %",
  "stage 4 at 50 %",
  "compiled in",
)
HEADER = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def row(label: str, model: str, plan: Plan, result: Result) -> str:
  """One row of the table."""
  mesh = " ".join(f"{k} {v}" for k, v in plan.mesh.items() if v != 1)
  capacity = _gib(plan.topology.chip.usable_bytes)
  cells = [label, model, mesh or "1 chip", str(plan.micro_batches)]
  if result.fits:
    bounds = roofline.bounds(plan, result)
    parts = (bounds.compute, bounds.memory, bounds.interconnect)
    hours = roofline.stage_hours(plan, bounds, 0.5)[4]
    cells += [
      f"{_gib(result.argument_bytes)} + {_gib(result.temporary_bytes)}",
      capacity,
      " / ".join(f"{seconds:.2f}" for seconds in parts),
      f"{bounds.rate():.0f}",
      f"{bounds.rate(0.5):.0f}",
      f"{hours:.1f} h",
    ]
  else:
    needed = _gib(result.missing_bytes + result.capacity_bytes)
    missing = f"does not fit, by {_gib(result.missing_bytes)} GiB"
    cells += [f"needs {needed}", capacity, missing, "", "", ""]
  return f"| {' | '.join(cells)} | {result.seconds:.0f} s |"
