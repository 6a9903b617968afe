import pytest

import made_up_cloud


@pytest.fixture
def cloud(tmp_path, monkeypatch):
  cloud = made_up_cloud.Cloud(tmp_path, monkeypatch)
  yield cloud
  cloud.kill()
