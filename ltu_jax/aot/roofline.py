"""How fast a step can be at best: arithmetic, memory, interconnect.

Each bound leaves out what cannot be known before a run: how well the three
overlap, and activations that go through memory. So a step takes at least the
largest of the three.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence

from flax import nnx

from ltu_jax.aot import flops
from ltu_jax.aot.compile import (
  Plan,
  Result,
  mesh_of,
  train_arguments,
  tree_bytes,
)
from ltu_jax.curriculum import PUBLISHED
from ltu_jax.models.ltu import LtuConfig, abstract, part_of
from ltu_jax.sharding import path_name

PUBLISHED_BATCH = 256
"""Questions of a step of the published stages (LTU's training scripts)."""


@dataclasses.dataclass(frozen=True)
class Bounds:
  """Least seconds of a step.

  Attributes:
    compute: executed FLOPs at the chips' bf16 peak.
    memory: weights read once a pass and optimiser state, at the memory's rate.
    interconnect: bytes that the collectives make a chip send, over the links of
      a chip in the slice's corner; with several slices, also the gradients of
      the trained part over the data center's network.
    questions: of a step, on the average.
  """

  compute: float
  memory: float
  interconnect: float
  questions: float

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


@functools.cache
def trained(cfg: LtuConfig, trainable: tuple[str, ...]) -> frozenset[str]:
  """Parts of the model that have parameters whose paths a regex matches."""
  flat = nnx.to_flat_state(abstract(cfg)[1])
  paths = (path_name(path) for path, _ in flat)
  return frozenset(
    part_of(path)
    for path in paths
    if any(re.search(pattern, path) for pattern in trainable)
  )


def row(plan: Plan, trainable: Sequence[str] | None = None) -> flops.Flops:
  """FLOPs of a row; by default one that trains what the plan does."""
  trainable = plan.trainable if trainable is None else trainable
  return flops.train_row(
    plan.model,
    plan.text_tokens,
    trained(plan.model, tuple(trainable)),
    loss_chunk=plan.loss_chunk,
  )


def bounds(plan: Plan, result: Result) -> Bounds:
  """Bounds of a plan that was compiled."""
  chip, chips = plan.topology.chip, plan.topology.num_chips
  mesh = mesh_of(plan)
  _, state, frozen, _, _ = train_arguments(plan, mesh)
  # Forward, backward, and forward again: every chip reads its tensor part of
  # the gathered weights, whatever fsdp is.
  passes = 2 + (plan.model.llama.remat == "full")
  weights = tree_bytes((state["trainable"], frozen), on_all=True)
  weights /= mesh.shape["tensor"]
  ways = mesh.shape["fsdp"] * mesh.shape["tensor"]
  # Moments and weights are read and written.
  update = 2 * tree_bytes((state["trainable"], state["opt"]), True) / ways
  # One device may be half a chip, with half of its memory and links.
  moved = (passes * plan.micro_batches * weights + update) * chip.devices
  sent = sum(c.sent_bytes for c in result.collectives) * chip.devices
  interconnect = 0.0
  if sent:
    # Devices of one chip have no link to each other here.
    links = max(1, plan.topology.links)
    interconnect = sent / (links * chip.link_bandwidth)
  if plan.topology.slices > 1:
    s = plan.topology.slices
    crossing = 2 * (s - 1) / s * tree_bytes(state["trainable"], True) / ways
    interconnect = max(interconnect, crossing / chip.dcn_bandwidth)
  work = row(plan).executed * plan.batch
  return Bounds(
    work / (chips * chip.flops),
    moved / chip.hbm_bandwidth,
    interconnect,
    plan.batch * plan.row_questions,
  )


def stage_hours(
  plan: Plan, bounds: Bounds, share: float = 1.0
) -> dict[int, float]:
  """Hours of each published stage, to its hand-off, at a share of the bound.

  The stage's own questions, and its own arithmetic: stage 1 trains less. Memory
  and interconnect are those of the plan, an upper bound for stage 1.
  """
  hours = {}
  for stage in PUBLISHED:
    work = row(plan, stage.trainable).executed / row(plan).executed
    own = dataclasses.replace(bounds, compute=bounds.compute * work)
    questions = stage.handoff_step * PUBLISHED_BATCH
    hours[stage.number] = questions / own.rate(share) / 3600
  return hours
