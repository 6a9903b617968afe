import jax
import pytest

from ltu_jax.aot import compile as compile_lib


@pytest.fixture
def cpu_devices(monkeypatch):
  """Eight simulated devices in place of a topology's."""
  monkeypatch.setattr(compile_lib, "devices", lambda t: jax.devices())
