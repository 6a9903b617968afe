r"""Stage 2 of LTU-7B alone: encoder, projection, adapters, on classification.

Starts from stage 1 at its published hand-off, as a base folder. After
configs/stage1.py, or with the published file of that stage as --ltu:

  python -m ltu_jax.convert export --workdir=runs/stage1 --format=ltu \
    --out=stage1.safetensors
  python -m ltu_jax.convert import --base=bases/start \
    --ltu=stage1.safetensors --out=bases/handoff1

Then, on all hosts:

  python -m ltu_jax.main --config=configs/stage2.py --workdir=runs/stage2 \
    --config.base=bases/handoff1 --config.data.dir=TFDS_FOLDER

Other sizes: --config=configs/stage2.py:13b; see configs/published.py.
"""

import ml_collections

from configs import published


def get_config(variant: str = "7b") -> ml_collections.ConfigDict:
  """Returns stage 2; `variant` is one of published.VARIANTS."""
  return published.get_config(variant, stages=(2,))
