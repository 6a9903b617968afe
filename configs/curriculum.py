r"""All four stages of LTU-7B in one run, each handing its weights to the next.

Starts from Vicuna and the fine-tuned CAV-MAE; adapters are drawn:

  python -m ltu_jax.convert import --llama=vicuna-7b-v1.1 \
    --audio=audio_model.pth --out=bases/start

Then, on all hosts:

  python -m ltu_jax.main --config=configs/curriculum.py --workdir=runs/ltu \
    --config.base=bases/start --config.data.dir=TFDS_FOLDER

Other sizes: --config=configs/curriculum.py:13b; see configs/published.py.
"""

import ml_collections

from configs import published


def get_config(variant: str = "7b") -> ml_collections.ConfigDict:
  """Returns stages 1 to 4; `variant` is one of published.VARIANTS."""
  return published.get_config(variant)
