r"""Stage 1 of LTU-7B alone: the projection alone, on classification.

Starts from Vicuna and the fine-tuned CAV-MAE; adapters are drawn:

  python -m ltu_jax.convert import --llama=vicuna-7b-v1.1 \
    --audio=audio_model.pth --out=bases/start

Then, on all hosts:

  python -m ltu_jax.main --config=configs/stage1.py --workdir=runs/stage1 \
    --config.base=bases/start --config.data.dir=TFDS_FOLDER

Other sizes: --config=configs/stage1.py:13b; see configs/published.py.
"""

import ml_collections

from configs import published


def get_config(variant: str = "7b") -> ml_collections.ConfigDict:
  """Returns stage 1; `variant` is one of published.VARIANTS."""
  return published.get_config(variant, stages=(1,))
