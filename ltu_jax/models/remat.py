"""What a scanned layer keeps for the backward pass."""

from collections.abc import Callable

import jax
from jax.ad_checkpoint import checkpoint_name

_KEPT = "projection"

# JAX's own policies for dots would keep those of adapters and rotation too, a
# third more, of which nothing is saved but little arithmetic.
POLICIES = {
  "none": None,
  "dots": jax.checkpoint_policies.save_only_these_names(_KEPT),
  "full": jax.checkpoint_policies.nothing_saveable,
}
"""none: keep all; dots: keep what the weights' products give, with adapter or
bias, where it is needed; full: keep only layer inputs."""


def keep(x: jax.Array) -> jax.Array:
  """Marks what "dots" keeps."""
  return checkpoint_name(x, _KEPT)


def remat(body: Callable, policy: str) -> Callable:
  """Wraps a scan body in `jax.checkpoint` with the named policy.

  Raises:
    ValueError: a policy that POLICIES does not have.
  """
  if policy not in POLICIES:
    raise ValueError(f"remat {policy!r}: choose one of {sorted(POLICIES)}")
  if policy == "none":
    return body
  # Inside scan the compiler cannot merge the recomputation away, so the
  # barrier that prevent_cse adds would only cost time.
  return jax.checkpoint(body, prevent_cse=False, policy=POLICIES[policy])
