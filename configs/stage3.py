r"""Stage 3 of LTU-7B alone: all closed-ended questions.

Starts from stage 2 at its published hand-off, as a base folder. After
configs/stage2.py, or with the published file of that stage as --ltu:

  python -m ltu_jax.convert export --workdir=runs/stage2 --format=ltu \
    --out=stage2.safetensors
  python -m ltu_jax.convert import --base=bases/handoff1 \
    --ltu=stage2.safetensors --out=bases/handoff2

Then, on all hosts:

  python -m ltu_jax.main --config=configs/stage3.py --workdir=runs/stage3 \
    --config.base=bases/handoff2 --config.data.dir=TFDS_FOLDER

Other sizes: --config=configs/stage3.py:13b; see configs/published.py.
"""

import ml_collections

from configs import published


def get_config(variant: str = "7b") -> ml_collections.ConfigDict:
  """Returns stage 3; `variant` is one of published.VARIANTS."""
  return published.get_config(variant, stages=(3,))
