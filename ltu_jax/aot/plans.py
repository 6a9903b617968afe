"""From a config and what the flags change in it to a plan."""

import math
import re

import ml_collections

from ltu_jax import config as config_lib
from ltu_jax.aot.compile import Plan, PlanError
from ltu_jax.aot.topologies import Topology
from ltu_jax.data import buckets
from ltu_jax.sharding import MESH_AXES


def parse_mesh(text: str) -> dict[str, int]:
  """Reads "data1,fsdp16,tensor1"; an axis that is not named is 1.

  Raises:
    PlanError: another form.
  """
  found = dict.fromkeys(MESH_AXES, 1)
  for part in text.split(","):
    match = re.fullmatch(r"([a-z]+)(-1|[1-9]\d*)", part.strip())
    if not match or match[1] not in MESH_AXES:
      raise PlanError(
        f"--mesh={text}: write axes of {MESH_AXES} with their sizes, such as "
        "data1,fsdp16,tensor1"
      )
    found[match[1]] = int(match[2])
  return found


def plan_of(
  config: ml_collections.ConfigDict,
  topology: Topology,
  mesh: str | None = None,
  batch: int | None = None,
  stage: int | None = None,
  row_questions: float | None = None,
) -> Plan:
  """Makes the plan of a stage of a config on a topology.

  With length buckets it is that of the widest, which takes most memory.

  Args:
    config: the run's config.
    topology: where.
    mesh: see `parse_mesh`; by default that of the config, and with several
      slices the data axis over them.
    batch: by default that of the config.
    stage: number; by default the config's last one.
    row_questions: mean number of questions of a row; 1 by default, and needed
      where the config packs several into one.

  Raises:
    PlanError: a stage that the config does not have, `row_questions` that are
      missing or more than a row has, or see `parse_mesh`.
    ConfigError: see config.
  """
  stages = {s.number: s for s in config_lib.stages(config)}
  number = max(stages) if stage is None else stage
  if number not in stages:
    raise PlanError(f"--stage={number}: the config has {sorted(stages)}")
  shape = parse_mesh(mesh) if mesh else dict(config.mesh)
  if not mesh and topology.slices > 1:
    shape["data"] = topology.slices
  if list(shape.values()).count(-1) == 1:
    taken = -math.prod(shape.values()) or 1
    free = next(axis for axis, size in shape.items() if size == -1)
    shape[free] = max(1, topology.num_devices // taken)
  most = config.data.questions_per_row
  if row_questions is None and most > 1:
    raise PlanError(
      f"config.data.questions_per_row is {most}: how many a row has on the"
      " average depends on the data; say it with --row_questions (training"
      " prints it as a stage begins, and so does python -m benchmarks.packing)"
    )
  if row_questions is None:
    row_questions = 1.0
  if not 1 <= row_questions <= most:
    raise PlanError(
      f"--row_questions={row_questions}: a row has 1 to"
      f" {most} (config.data.questions_per_row)"
    )
  max_tokens = config_lib.max_tokens(config, stages[number])
  return Plan(
    config_lib.model_config(config),
    topology,
    shape,
    config.data.batch_size if batch is None else batch,
    config.data.micro_batches,
    buckets.shapes_of(config.data, max_tokens)[-1].tokens,
    stages[number].trainable,
    config.optimizer.loss_norm,
    config.optimizer.max_grad_norm,
    config_lib.augment(config),
    config.optimizer.loss_chunk,
    row_questions,
  )
