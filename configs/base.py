"""LTU-7B as published; the fields are explained in ltu_jax/default_config.py.

Other configs start from this one and change what they need. Any field can be
set on the command line: --config.data.batch_size=64
"""

from ltu_jax.default_config import get_config

__all__ = ["get_config"]
