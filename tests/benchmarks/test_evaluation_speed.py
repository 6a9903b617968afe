"""The benchmark of evaluation measures what it says."""

import re

import jax
import pytest

from benchmarks import evaluate
from ltu_jax.aot import flops
from ltu_jax.models.ltu import build


def test_the_bound_of_a_clip():
  cfg = evaluate.SIZES["tiny"]
  model = jax.eval_shape(lambda: build(cfg, jax.random.key(0)))
  llama = cfg.llama
  layer = 4 * llama.dim**2 + 3 * llama.dim * llama.mlp_dim + 2 * llama.dim
  adapters = 2 * 2 * 8 * llama.dim
  numbers = llama.layers * (layer + adapters) + llama.dim
  numbers += llama.vocab * llama.dim
  forward = flops.train_row(cfg, 30, ()).forward
  by_compute = evaluate.Bound(model, 30, bytes_s=1e30, flops=1e6)
  assert by_compute.read == pytest.approx(forward / 1e6)
  assert by_compute.scored(7) == pytest.approx((forward + 14 * numbers) / 1e6)
  assert by_compute.answered(3, 7) == by_compute.scored(7)
  # Each step reads the weights for all rows; reading counts no memory.
  by_memory = evaluate.Bound(model, 30, bytes_s=1e6, flops=1e30)
  alone, together = (by_memory.answered(rows, 8) for rows in (1, 1000))
  assert alone > 8 * 2 * numbers / 1e6 and alone > 1.5 * together
  assert by_memory.scored(7) == pytest.approx(0)


def test_made_up_labels():
  texts = evaluate.labels(50)
  assert len({*texts}) == 50
  assert {len(text.split()) for text in texts} == {2, 3, 4}
  tokenizer = evaluate.Pieces(8192)
  # All begin with "Labels:", three pieces.
  ids = [tokenizer.encode(text, bos=False, eos=False) for text in texts]
  beginnings = {tuple(i[:n]) for i in ids for n in range(1, len(i) + 1)}
  assert evaluate.tree_tokens(tokenizer, 50) == len(beginnings)
  assert len({tuple(i[:3]) for i in ids}) == 1


@pytest.mark.slow
def test_all_kinds_say_the_same_and_are_timed(capsys):
  evaluate.main(
    [
      *("--size=tiny", "--clips=4", "--scored_clips=2", "--batch", "2"),
      *("--labels", "5", "9", "--new_tokens=8", "--rounds=1"),
    ]
  )
  out = capsys.readouterr().out
  assert [*re.findall(r"^(.*?) +differs by", out, re.M)] == [
    *("one at a time", "rows, 2", "whole texts", "labels, 5")
  ]
  kinds = re.findall(r"^\| ([a-z, \d]+) \| [\d.]+ \| [\d.]+ \|", out, re.M)
  assert kinds == [
    *("one at a time", "rows, 2", "whole texts", "labels, 5", "labels, 9")
  ]
  assert len(re.findall(r"^  .* h$", out, re.M)) == 4


def test_other_results_are_not_timed():
  runs = {"a": lambda asked: ["x"], "b": lambda asked: ["y"]}
  with pytest.raises(SystemExit, match="b: these are not the results"):
    evaluate.agree(runs, [None], exact=True)
  evaluate.agree(runs, [None], exact=False)
