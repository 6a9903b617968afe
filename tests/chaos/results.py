"""What a run amounts to: its weights and metrics, without our own checks."""

import hashlib
import json

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from tests.chaos.config import STAGES, STEPS

_TIMES = (
  "questions_per_second",
  "tokens_per_second_per_chip",
  "seconds_per_step",
  "data_wait",
)


def weights(workdir):
  """SHA-256 over every array of the last checkpoint of every stage."""
  digest = hashlib.sha256()
  for stage in STAGES:
    folder = workdir / f"checkpoints/stage{stage}/{STEPS}"
    state = ocp.load(folder, checkpointable_name="state")
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
      if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
      digest.update(jax.tree_util.keystr(path).encode())
      digest.update(np.asarray(leaf).tobytes())
  return digest.hexdigest()


def metrics(workdir):
  """The lines of metrics.jsonl without times: all, in order, none twice."""
  lines = [json.loads(x) for x in (workdir / "metrics.jsonl").open()]
  return [{k: v for k, v in x.items() if k not in _TIMES} for x in lines]


def newest(workdir):
  """The newest checkpoint's folder; None if there is none."""
  found = [p for p in workdir.glob("checkpoints/stage*/*") if p.name.isdigit()]
  key = lambda p: (int(p.parent.name.removeprefix("stage")), int(p.name))
  return max(found, key=key, default=None)
