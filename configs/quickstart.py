"""A small LTU trained from nothing on real sounds, on a laptop's CPU.

  python -m ltu_jax.main --config=configs/quickstart.py \
    --workdir=runs/quickstart

No pretrained weights can stand behind it, so a stage 0 makes what LTU starts
from: an encoder that has heard labelled sounds (CAV-MAE in the paper) and a
decoder that knows the language of the questions (Vicuna). Stages 1 to 4 are the
paper's: the same tasks and trainable parts, shorter and at higher rates.
"""

import ml_collections

from configs import base
from ltu_jax import curriculum

WHOLE_MODEL = (
  "^encoder/",
  "^projector/",
  "^llama/(embedding|lm_head|norm)",
  "^llama/layers/.*/(w|scale)$",
)
"""Everything but the adapters."""


def _stages() -> dict[str, dict]:
  """Stage 0, and the paper's stages at this size."""
  from ltu_jax.config import fields

  published = {s.number: fields(s) for s in curriculum.PUBLISHED}
  short = dict(steps=0, handoff_step=0, warmup_steps=10)
  return {
    "stage0": fields(
      curriculum.Stage(
        0,
        "an ear and a tongue to start from",
        tasks=curriculum.CLASSIFICATION,
        trainable=WHOLE_MODEL,
        peak_lr=2e-3,
        warmup_steps=50,
        steps=800,
        max_tokens=64,
      )
    ),
    "stage1": published[1] | short | dict(steps=60, max_tokens=64),
    "stage2": published[2] | short | dict(peak_lr=1e-3, steps=200),
    "stage3": published[3] | short | dict(peak_lr=1e-3, steps=200),
    "stage4": published[4] | short | dict(peak_lr=1e-3, steps=200),
  }


def get_config() -> ml_collections.ConfigDict:
  """Returns the quickstart: under ten minutes on two cores."""
  config = base.get_config()
  float32 = {"dtype": "float32", "remat": "none"}
  config.model.encoder.update(
    dim=128,
    depth=2,
    heads=2,
    mlp_ratio=2,
    patch_mels=32,
    patch_frames=32,
    **float32,
  )
  # 32 time steps of 0.32 s: one audio token each.
  config.model.projector.time_pool = 1
  config.model.llama.update(
    dim=128,
    mlp_dim=384,
    layers=2,
    heads=4,
    kv_heads=4,
    head_dim=32,
    param_dtype="float32",
    **float32,
  )
  config.data.batch_size = 24
  config.data.max_tokens = 80
  config.data.num_threads = 2
  config.stages = _stages()
  config.log_every = 20
  config.checkpoint_every = 100
  return config
