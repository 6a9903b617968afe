"""python -m ltu_jax.aot --config=configs/base.py --topology=v5e:4x4.

Compiles the training step of a config for a TPU on a machine without one, and
says what fits and how fast it can be at best. Needs pip install -e '.[tpu]'.
"""

import json
import math
import os
import re
import sys
import time

# Before JAX is imported: the compiler must not look for a TPU's metadata.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
# Nothing runs on a TPU here, so others may compile at the same time.
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")

import dataclasses

from absl import app, flags
from ml_collections import config_flags

from ltu_jax import config as config_lib
from ltu_jax.aot import compile as compile_lib
from ltu_jax.aot import report, suggest, topologies
from ltu_jax.models.llama import LLAMA_13B
from ltu_jax.sharding import MESH_AXES, ShardingError
from ltu_jax.train_state import PartitionError

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "Such as v5e:4x4.")
_SLICES = flags.DEFINE_integer("slices", 1, "Slices of that topology.")
_MESH = flags.DEFINE_string(
  "mesh", None, "Such as data1,fsdp16,tensor1; default: config.mesh."
)
_BATCH = flags.DEFINE_integer("batch", None, "Default: config.data.batch_size.")
_STAGE = flags.DEFINE_integer("stage", None, "Default: the config's last one.")
_DECODE = flags.DEFINE_integer("decode", 0, "Also decode so many rows.")
_JSON = flags.DEFINE_bool("json", False, "Print JSON.")
_SUGGEST = flags.DEFINE_bool("suggest", False, "Search for what fits.")
_TABLE = flags.DEFINE_bool("table", False, "Print the README's table.")

USER_ERRORS = (
  compile_lib.PlanError,
  config_lib.ConfigError,
  topologies.TopologyError,
  ShardingError,
  PartitionError,
)

TABLE = {
  "v5e-8": "v5e:2x4",
  "v5e-16": "v5e:4x4",
  # Named by their cores: four chips.
  "v4-8": "v4:2x2x1",
  "v5p-8": "v5p:2x2x1",
  "v6e-8": "v6e:2x4",
}
"""Google's name of a slice -> its topology."""


def parse_mesh(text: str) -> dict[str, int]:
  """Reads "data1,fsdp16,tensor1"; an axis that is not named is 1.

  Raises:
    PlanError: another form.
  """
  found = dict.fromkeys(MESH_AXES, 1)
  for part in text.split(","):
    match = re.fullmatch(r"([a-z]+)(-?\d+)", part.strip())
    if not match or match[1] not in MESH_AXES:
      raise compile_lib.PlanError(
        f"--mesh={text}: write axes of {MESH_AXES} with their sizes, such as "
        "data1,fsdp16,tensor1"
      )
    found[match[1]] = int(match[2])
  return found


def plan_of(config, topology: topologies.Topology) -> compile_lib.Plan:
  """The plan that the flags and the config ask for."""
  stages = {s.number: s for s in config_lib.stages(config)}
  number = max(stages) if _STAGE.value is None else _STAGE.value
  if number not in stages:
    raise compile_lib.PlanError(
      f"--stage={number}: the config has {sorted(stages)}"
    )
  mesh = parse_mesh(_MESH.value) if _MESH.value else dict(config.mesh)
  if not _MESH.value and topology.slices > 1:
    mesh["data"] = topology.slices
  chips = topology.num_chips * topology.chip.devices
  if -1 in mesh.values():
    rest = -math.prod(mesh.values())
    free = next(k for k, v in mesh.items() if v == -1)
    mesh[free] = max(1, chips // rest)
  return compile_lib.Plan(
    config_lib.model_config(config),
    topology,
    mesh,
    _BATCH.value or config.data.batch_size,
    config.data.micro_batches,
    stages[number].max_tokens or config.data.max_tokens,
    stages[number].trainable,
    config.optimizer.loss_norm,
    config.optimizer.max_grad_norm,
    config_lib.augment(config),
    config.optimizer.loss_chunk,
  )


def table(config) -> None:
  """Prints the table of 7B and 13B, a row as soon as it is there."""
  start = time.time()
  print(report.HEADER, flush=True)
  for model, name in (("7b", "7B"), ("13b", "13B")):
    if model == "13b":
      config.model.llama.update(config_lib.fields(LLAMA_13B))
    for label, topology in TABLE.items():
      plan = plan_of(config, topologies.parse(topology))
      result = compile_lib.train(plan)
      while not result.fits and plan.micro_batches < 16:
        plan = dataclasses.replace(plan, micro_batches=2 * plan.micro_batches)
        result = compile_lib.train(plan)
      print(report.row(label, name, plan, result), flush=True)
  print(f"\nIn {(time.time() - start) / 60:.0f} minutes.")


def run() -> None:
  """Does what the flags say."""
  if _TABLE.value:
    return table(_CONFIG.value)
  topology = topologies.parse(_TOPOLOGY.value, _SLICES.value)
  plan = plan_of(_CONFIG.value, topology)
  if _SUGGEST.value:
    found = suggest.search(plan, lambda line: print(line, file=sys.stderr))
    if found is None:
      raise compile_lib.PlanError(
        "nothing fits: a smaller batch, or a topology with more memory"
      )
    plan, result = found
  else:
    result = compile_lib.train(plan)
  data = report.as_json(plan, result)
  if not result.fits:
    data["would_fit"] = suggest.would_fit(plan, result)
  text = report.text(plan, result)
  if _DECODE.value:
    decoded = compile_lib.decode(plan, _DECODE.value)
    data["decode"] = dataclasses.asdict(decoded) | {"fits": decoded.fits}
    text += f"\ndecoding {_DECODE.value} rows\n" + report.memory_line(
      decoded, data["hbm_bytes"]
    )
  print(json.dumps(data, indent=2) if _JSON.value else text)
  if not result.fits and not _JSON.value:
    lines = suggest.would_fit(plan, result)
    print("  would help (estimated; --suggest compiles):")
    print("\n".join(f"    {line}" for line in lines or ["more chips"]))


def main(argv: list[str]) -> None:
  """Runs; a user's error ends with its message alone and status 2."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments {argv[1:]}; flags start with --")
  if not _TABLE.value and not _TOPOLOGY.value:
    raise app.UsageError("--topology is missing, such as v5e:4x4")
  try:
    run()
  except USER_ERRORS as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  app.run(main)
