"""The page says what is known of its model."""

import pytest

from ltu_jax.checkpoint import CheckpointError
from ltu_jax.serve.card import model_card


def test_a_bundle_has_its_own_card(tmp_path):
  assert "no README.md" in model_card(bundle=tmp_path)
  (tmp_path / "README.md").write_text("# Mine ü", "utf-8")
  assert model_card(bundle=tmp_path) == "# Mine ü"


def test_what_is_no_run_is_an_error(tmp_path):
  with pytest.raises(CheckpointError):
    model_card(workdir=tmp_path)
