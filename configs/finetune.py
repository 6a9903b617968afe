r"""Fine-tuning on sounds of your own, from any base: a few hundred steps.

Encoder, projection and adapters are trained, as in stage 4. The base gives the
sizes of what it has:

  python -m ltu_jax.main --config=configs/finetune.py --workdir=runs/mine \
    --config.base=bases/ltu-7b --config.data.dir=TFDS_FOLDER

Two bases need more, and get it by what stands after the colon:

  configs/finetune.py:join   an encoder and a decoder that have not met before:
                             a stage comes first that trains the projection
  configs/finetune.py:whole  the quickstart's model, whose decoder has read no
                             words but those of its own questions: the decoder
                             is trained, too
"""

import ml_collections

from configs import published
from configs.quickstart import DECODER
from ltu_jax.config import ConfigError
from ltu_jax.curriculum import AUDIO_AND_ADAPTERS

VARIANTS = ("", "join", "whole")

_STEPS = dict(handoff_step=0, warmup_steps=20)


class VariantError(ConfigError, OSError):
  """No such variant; see configs/published.py."""


def get_config(variant: str = "") -> ml_collections.ConfigDict:
  """Returns the fine-tuning.

  Args:
    variant: one of VARIANTS.

  Raises:
    VariantError: there is no such variant.
  """
  if variant not in VARIANTS:
    raise VariantError(
      f"--config=...:{variant}: no such variant; there are join and whole"
    )
  config = published.get_config("7b", (1, 4) if variant == "join" else (4,))
  # The rate is that of the published stage 4, for LTU-7B.
  config.stages.stage4.update(name="own sounds", steps=300, **_STEPS)
  if variant == "join":
    config.stages.stage1.update(
      name="projection alone", tasks=(), steps=100, **_STEPS
    )
  if variant == "whole":
    # The rate of the quickstart's stages 2 to 4, which fits its size.
    trainable = (*AUDIO_AND_ADAPTERS, *DECODER)
    config.stages.stage4.update(trainable=trainable, peak_lr=1.5e-3)
  config.data.batch_size = 16
  # Few questions are soon known by heart: answers alone are targets.
  config.data.train_on_inputs = False
  config.checkpoint_every = 100
  return config
