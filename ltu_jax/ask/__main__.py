"""python -m ltu_jax.ask; see cli.py."""

import sys

from ltu_jax.ask.command import main

if __name__ == "__main__":
  sys.exit(main())
