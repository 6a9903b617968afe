"""How fast a step can be at best: arithmetic, memory, interconnect.

Each bound leaves out what cannot be known before a run: how well the three
overlap, and activations that go through memory. So a step takes at least the
largest of the three.
"""

import dataclasses

import jax

from ltu_jax.aot import flops
from ltu_jax.aot.compile import Plan, Result, mesh_of, train_arguments
from ltu_jax.curriculum import PUBLISHED


@dataclasses.dataclass(frozen=True)
class Bounds:
  """Least seconds of a step.

  Attributes:
    compute: executed FLOPs at the chips' bf16 peak.
    memory: weights read once a pass and optimiser state, at the memory's rate.
    interconnect: bytes that the collectives make a chip send, over all its
      links in one direction; with several slices, also the gradients of the
      trained part over the data center's network.
    questions: of a step.
  """

  compute: float
  memory: float
  interconnect: float
  questions: int

  @property
  def seconds(self) -> float:
    """The largest."""
    return max(self.compute, self.memory, self.interconnect)

  @property
  def limit(self) -> str:
    """Which one it is."""
    return max(
      ("compute", "memory", "interconnect"), key=lambda n: getattr(self, n)
    )

  def rate(self, share: float = 1.0) -> float:
    """Questions/s at a share of the bound."""
    return share * self.questions / self.seconds


def question(plan: Plan) -> flops.Flops:
  """FLOPs of one of the plan's questions."""
  trains_encoder = any(p.startswith("^encoder") for p in plan.trainable)
  return flops.train_question(plan.model, plan.text_tokens, trains_encoder)


def bounds(plan: Plan, result: Result) -> Bounds:
  """Bounds of a plan that was compiled."""
  chip, chips = plan.topology.chip, plan.topology.num_chips
  mesh = mesh_of(plan)
  _, state, frozen, _, _ = train_arguments(plan, mesh)
  full = lambda tree: sum(
    leaf.size * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  )
  # Forward, backward, and forward again: every chip reads its tensor part of
  # the gathered weights, whatever fsdp is.
  passes = 2 + (plan.model.llama.remat == "full")
  weights = full((state["trainable"], frozen)) / mesh.shape["tensor"]
  ways = mesh.shape["fsdp"] * mesh.shape["tensor"]
  # Moments and weights are read and written.
  update = 2 * full((state["trainable"], state["opt"])) / ways
  # One device may be half a chip, with half of its memory and links.
  moved = (passes * plan.micro_batches * weights + update) * chip.devices
  sent = sum(c.sent_bytes for c in result.collectives) * chip.devices
  interconnect = sent / chip.ici_bandwidth
  if plan.topology.slices > 1 and chip.dcn_bandwidth:
    s = plan.topology.slices
    crossing = 2 * (s - 1) / s * full(state["trainable"]) / ways
    interconnect = max(interconnect, crossing / chip.dcn_bandwidth)
  work = question(plan).executed * plan.batch
  return Bounds(
    work / (chips * chip.flops),
    moved / chip.hbm_bandwidth,
    interconnect,
    plan.batch,
  )


def stage_hours(rate: float, batch: int = 256) -> dict[int, float]:
  """Hours of each published stage, to its hand-off, at so many questions/s.

  Stage 1 trains less and is faster than that: it is a bound for it too.
  """
  return {
    stage.number: stage.handoff_step * batch / rate / 3600
    for stage in PUBLISHED
  }
