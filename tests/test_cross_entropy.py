"""The loss in chunks of text positions."""

import jax
import numpy as np
import pytest
from flax import nnx

import golden_data
from ltu_jax import cross_entropy
from ltu_jax.train_state import split_params
from ltu_jax.train_step import gradients

TRAINABLE = ("^encoder/", "^projector/", "lora_")


@pytest.mark.parametrize("chunk", [1, 5, 6, 12, 100])
def test_any_chunk_gives_the_sum_of_numpy(chunk):
  rng = np.random.default_rng(0)
  hidden = rng.normal(size=(3, 12, 8)).astype(np.float32)
  w = rng.normal(size=(8, 50)).astype(np.float32)
  targets = rng.integers(0, 50, (3, 12)).astype(np.int32)
  weights = rng.random((3, 12)).astype(np.float32)
  got = cross_entropy.weighted_sum(
    lambda h: h @ w, hidden, targets, weights, chunk
  )
  logits = (hidden @ w).astype(np.float64)
  norm = np.log(np.exp(logits).sum(-1))
  picked = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
  want = (weights * (norm - picked)).sum()
  np.testing.assert_allclose(got, want, rtol=1e-6)  # float32


def test_chunks_give_the_published_loss_and_plain_gradients():
  name = "forward_a"
  graphdef, params = nnx.split(golden_data.model(name))
  parts = split_params(params, TRAINABLE)
  batch = jax.tree.map(lambda x: x[None], golden_data.batch(name))
  (plain, _, _), (chunked, loss, _) = (
    jax.jit(
      lambda t, f, b, c=chunk: gradients(graphdef, t, f, b, None, loss_chunk=c)
    )(*parts, batch)
    for chunk in (0, 5)
  )
  want = golden_data.load(name)["out/loss"]
  np.testing.assert_allclose(loss, want, rtol=0, atol=1e-5)
  for a, b in zip(
    jax.tree.leaves(plain), jax.tree.leaves(chunked), strict=True
  ):
    # Gradients up to 0.2; float32 in another order of summation.
    np.testing.assert_allclose(a, b, rtol=0, atol=4e-7)
