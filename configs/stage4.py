r"""Stage 4 of LTU-7B alone: closed and open-ended questions.

Starts from stage 3 at its published hand-off, as a base folder. After
configs/stage3.py, or with the published file of that stage as --ltu:

  python -m ltu_jax.convert export --workdir=runs/stage3 --format=ltu \
    --out=stage3.safetensors
  python -m ltu_jax.convert import --base=bases/handoff2 \
    --ltu=stage3.safetensors --out=bases/handoff3

Then, on all hosts:

  python -m ltu_jax.main --config=configs/stage4.py --workdir=runs/stage4 \
    --config.base=bases/handoff3 --config.data.dir=TFDS_FOLDER

Other sizes: --config=configs/stage4.py:13b; see configs/published.py.
"""

import ml_collections

from configs import published


def get_config(variant: str = "7b") -> ml_collections.ConfigDict:
  """Returns stage 4; `variant` is one of published.VARIANTS."""
  return published.get_config(variant, stages=(4,))
