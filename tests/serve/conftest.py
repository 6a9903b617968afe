import httpx
import pytest

import live
from ltu_jax.serve.app import Settings


@pytest.fixture(scope="session")
def service():
  with live.service(waiting=62) as service:
    yield service


@pytest.fixture(scope="session")
def port(service):
  settings = Settings(
    hosts=frozenset({"127.0.0.1", "localhost"}), max_upload_mb=2
  )
  with live.serving(service, settings) as port:
    yield port


@pytest.fixture(scope="session")
def client(port):
  with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
    yield client
