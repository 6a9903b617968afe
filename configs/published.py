"""What the configs of the published stages share: sizes, data, hand-off.

The part of --config after the colon chooses the model:

  7b       LTU-7B, as published; the default
  13b      the same on LLaMA-13B
  smollm2  the same on SmolLM2-135M, which fits any accelerator
  tiny     a few layers and steps, to try a config on a CPU

With "-packed" after it, as in 7b-packed, several questions are in a row with
their clip: about twice the published 256 a step, for about the same operations.
See docs/packing.md.
"""

from collections.abc import Sequence

import ml_collections

from configs import base
from ltu_jax.config import ConfigError, fields
from ltu_jax.models import llama


class VariantError(ConfigError, OSError):
  """No such variant.

  An OSError, as a missing config file is: config_flags wraps any other error of
  a config file in a traceback.
  """


def _tiny(config: ml_collections.ConfigDict) -> None:
  """Everything small, and every stage three steps long."""
  config.model.encoder.update(dim=32, depth=2, heads=2)
  config.model.llama.update(
    vocab=384, dim=32, mlp_dim=64, layers=2, heads=4, kv_heads=2, head_dim=8
  )
  config.model.lora.rank = 2
  config.data.batch_size = 8
  config.data.max_tokens = 24
  for stage in config.stages.values():
    stage.update(steps=3, warmup_steps=1, handoff_step=0)
  config.log_every = 1


def _packed(config: ml_collections.ConfigDict) -> None:
  """Rows of four questions' room, for five sixteenths of the rows."""
  room = config.data.max_tokens
  config.data.update(
    questions_per_row=8,
    row_tokens=4 * room,
    # Of a quarter and a half: such batches divide over every mesh that the
    # widest do.
    length_buckets=(room, 2 * room),
    # 502 questions a step for 256, where a clip has 6.7 (benchmarks.packing).
    # Tiny keeps its 8 rows, one a device of the tests.
    batch_size=max(8, 5 * config.data.batch_size // 16),
  )
  # As rows are fewer, the output matrix is read for more of each.
  config.optimizer.loss_chunk = room


_MODELS = {
  "7b": lambda config: None,
  "13b": lambda config: config.model.llama.update(fields(llama.LLAMA_13B)),
  "smollm2": lambda config: config.model.llama.update(
    fields(llama.SMOLLM2_135M)
  ),
  "tiny": _tiny,
}

_PACKED = "-packed"

VARIANTS = (*_MODELS, *(f"{name}{_PACKED}" for name in _MODELS))
"""What can stand after the colon of --config."""


def get_config(
  variant: str = "7b", stages: Sequence[int] = (1, 2, 3, 4)
) -> ml_collections.ConfigDict:
  """Returns some of the published stages on OpenAQA.

  Args:
    variant: one of VARIANTS.
    stages: numbers of the stages to run.

  Raises:
    VariantError: there is no such variant.
  """
  if variant not in VARIANTS:
    raise VariantError(
      f"--config=...:{variant}: no such variant; there are "
      f"{', '.join(VARIANTS)}"
    )
  config = base.get_config()
  config.data.name = "openaqa/full"
  chosen = {name: config.stages[name] for name in map("stage{}".format, stages)}
  config.stages = {name: stage.to_dict() for name, stage in chosen.items()}
  _MODELS[variant.removesuffix(_PACKED)](config)
  if variant.endswith(_PACKED):
    _packed(config)
  return config
