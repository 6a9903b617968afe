"""What a scanned layer keeps for the backward pass."""

from collections.abc import Callable

import jax

POLICIES = {
  "none": None,
  "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  "full": jax.checkpoint_policies.nothing_saveable,
}
"""none: keep all; dots: keep matmul outputs; full: keep only layer inputs."""


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
