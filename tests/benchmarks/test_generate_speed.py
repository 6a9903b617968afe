"""The benchmark of generation measures what it says."""

import re

import pytest

from benchmarks import generate


def test_the_bound_of_a_step():
  model, _ = generate.models(generate.SIZES["tiny"], "float32")
  cfg = model.cfg.llama
  layer = 4 * cfg.dim**2 + 3 * cfg.dim * cfg.mlp_dim + 2 * cfg.dim
  adapters = 2 * 2 * 8 * cfg.dim
  numbers = cfg.layers * (layer + adapters) + cfg.dim + cfg.vocab * cfg.dim
  slots = 2 * cfg.layers * cfg.dim * 10
  found, why = generate.bound(model, 3, 10, bytes_s=1e6, flops=1e30)
  assert why == "memory"
  assert found == pytest.approx(3 * 1e6 / 4 / (numbers + 3 * slots))
  found, why = generate.bound(model, 3, 10, bytes_s=1e30, flops=1e6)
  assert (why, found) == ("compute", pytest.approx(1e6 / 2 / numbers))


@pytest.mark.slow
def test_all_kinds_say_the_same_and_are_timed(capsys):
  generate.main(
    [
      *("--size=tiny", "--batch", "2", "--rounds=1"),
      *("--new_tokens=8", "--prompt_tokens=8"),
    ]
  )
  out = capsys.readouterr().out
  assert len(re.findall(r"100\.0 % of 16 tokens equal", out)) >= 3
  kinds = re.findall(
    r"^\| 2 \| ([a-z ]+)[, \d]* \| [\d.e-]+ \| [\d.e+]+ \|", out, re.M
  )
  assert [*dict.fromkeys(kinds)] == [
    *("engine", "generate", "transformers", "with a clip")
  ]
  assert re.search(
    r"^16 answers of 1 to 8 tokens, 2 at a time: rows", out, re.M
  )
