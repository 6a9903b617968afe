r"""A small LTU trained from nothing on real sounds, on a laptop's CPU.

  python -m ltu_jax.main --config=configs/quickstart.py \
    --workdir=runs/quickstart

No pretrained decoder can stand behind it, so a stage 0 makes one: it reads the
text of the questions and answers without any sound (Vicuna in the paper).
Stages 1 to 4 are the paper's: the same tasks and trainable parts, shorter and
at higher rates. The encoder starts from nothing too (CAV-MAE in the paper) and
learns to hear in stage 2.
"""

import ml_collections

from configs import base
from ltu_jax import curriculum
from ltu_jax.config import fields

DECODER = (
  "^llama/(embedding|lm_head|norm)",
  "^llama/layers/.*/(w|scale)$",
)
"""All of the decoder but the adapters."""


def _stages() -> dict[str, dict]:
  """Stage 0, and the paper's stages at this size."""
  published = {s.number: fields(s) for s in curriculum.PUBLISHED}
  short = dict(handoff_step=0, warmup_steps=20, peak_lr=1.5e-3)
  return {
    "stage0": fields(
      curriculum.Stage(
        0,
        "text alone, to have a decoder",
        trainable=DECODER,
        peak_lr=2e-3,
        warmup_steps=50,
        steps=500,
        audio=False,
      )
    ),
    "stage1": published[1] | short | dict(steps=50, peak_lr=1e-3),
    "stage2": published[2] | short | dict(steps=1400),
    "stage3": published[3] | short | dict(steps=500),
    "stage4": published[4] | short | dict(steps=400),
  }


def get_config() -> ml_collections.ConfigDict:
  """Returns the quickstart: under ten minutes on two cores."""
  config = base.get_config()
  float32 = {"dtype": "float32", "remat": "none"}
  # Patches of all frequencies and 0.16 s: 64 of them, two an audio token. With
  # so few recordings, small square patches learn them by heart.
  config.model.encoder.update(
    dim=96, depth=1, heads=2, mlp_ratio=2, patch_mels=128, **float32
  )
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
  # Wider than the paper's 8; not tried apart, see benchmarks/README.md.
  config.model.lora.update(rank=32, alpha=64.0)
  config.augment = {"filter_db": 4.0, "mel_shift": 3}
  # All logits at once: a small vocabulary needs no chunks.
  config.optimizer.loss_chunk = 0
  config.data.batch_size = 12
  config.data.max_tokens = 80
  config.data.num_threads = 2
  # Answers alone are targets: the few questions would soon be known by heart.
  config.data.train_on_inputs = False
  config.data.drop_audio = 0.05
  config.stages = _stages()
  config.log_every = 20
  config.checkpoint_every = 100
  return config
