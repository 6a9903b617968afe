"""A plan that the tests of ltu_jax.aot change."""

import dataclasses

from configs import base
from ltu_jax import config as config_lib
from ltu_jax.aot import compile as compile_lib
from ltu_jax.aot import topologies

V5E_8 = topologies.parse("v5e:2x4")
"""Its eight devices are simulated ones; no TPU compiler is needed."""


def plan(**changes) -> compile_lib.Plan:
  """Stage 4 of LTU-7B over eight devices, with fields changed."""
  config = base.get_config()
  made = compile_lib.Plan(
    config_lib.model_config(config),
    V5E_8,
    {"data": 1, "fsdp": 8, "tensor": 1},
    256,
    1,
    108,
    config_lib.stages(config)[-1].trainable,
  )
  return dataclasses.replace(made, **changes)
