"""Every test runs on 8 fake CPU devices; set before anything imports JAX."""

import gc
import os

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)


@pytest.fixture
def drop_orbax_rest():
  """Orbax leaves coroutines of other arrays behind when one is unreadable."""
  yield
  gc.collect()
