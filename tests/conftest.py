"""Every test runs on 8 fake CPU devices; set before anything imports JAX."""

import gc
import os

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
# Tests compile for longer than they compute: without LLVM's optimisations the
# whole takes two thirds of the time. The quickstart (slow) runs with them.
os.environ["XLA_FLAGS"] = " ".join(
  [
    os.environ.get("XLA_FLAGS", ""),
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
  ]
)


@pytest.fixture
def drop_orbax_rest():
  """Orbax leaves coroutines of other arrays behind when one is unreadable."""
  yield
  gc.collect()
