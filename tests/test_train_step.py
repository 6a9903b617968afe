import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import golden_data
from ltu_jax.audio.augment import Augment
from ltu_jax.audio.fbank import CLIP_SAMPLES, log_mel
from ltu_jax.train_state import split_params
from ltu_jax.train_step import features, gradients, loss_sum

TRAINABLE = ("^encoder/", "^projector/", "lora_")


@functools.cache
def parts():
  graphdef, params = nnx.split(golden_data.model("forward_a"))
  return graphdef, *split_params(params, TRAINABLE)


loss = jax.jit(loss_sum, static_argnames="augment")


def pcm_batch(rows: int = 2) -> dict[str, np.ndarray]:
  """Noise with text; the second row is shorter, a third has no audio."""
  rng = np.random.default_rng(0)
  text = {k: v[:rows] for k, v in golden_data.batch("forward_a").items()}
  # What padding predicts depends on what padding sees; it is no target here.
  text["loss_weights"][:, 1:] *= text["segment_ids"][:, :-1]
  return {k: v for k, v in text.items() if k not in ("fbank", "has_audio")} | {
    "pcm": rng.integers(-9000, 9000, (rows, CLIP_SAMPLES)).astype(np.int16),
    "num_samples": np.array([CLIP_SAMPLES, 50_000, 0][:rows], np.int32),
  }


@pytest.mark.parametrize("loss_norm, equal", [("tokens", True), ("micro", 0)])
def test_micro_batches_are_one_batch(loss_norm, equal):
  """With "tokens" three micro-batches of one row = one of three; else not."""
  loss_norm = "tokens" if loss_norm == "tokens" else "micro_batch"
  graphdef, trainable, frozen = parts()
  batch = golden_data.batch("forward_a")
  one = jax.tree.map(lambda x: x[None], batch)
  three = jax.tree.map(lambda x: x[:, None], batch)
  grad = jax.jit(
    lambda b: gradients(graphdef, trainable, frozen, b, None, loss_norm)
  )
  (g1, l1, n1), (g3, l3, n3) = grad(one), grad(three)
  assert n1 == n3
  same = jax.tree.map(
    # Gradients up to 0.2; float32 in another order of summation.
    lambda a, b: np.allclose(a, b, rtol=0, atol=1e-6),
    g1,
    g3,
  )
  assert all(jax.tree.leaves(same)) == bool(equal)
  assert np.allclose(l1, l3, rtol=0, atol=1e-5) == bool(equal)


def test_unknown_loss_norm_is_named():
  graphdef, trainable, frozen = parts()
  with pytest.raises(ValueError, match="'mean'"):
    gradients(graphdef, trainable, frozen, {}, None, "mean")


def test_sound_goes_in_as_pcm():
  batch = pcm_batch()
  model = golden_data.model("forward_a")
  ready = {k: v for k, v in batch.items() if k not in ("pcm", "num_samples")}
  ready["fbank"] = log_mel(batch["pcm"], batch["num_samples"])
  ready["has_audio"] = np.ones(2, bool)
  want, got = loss(model, ready), loss(model, batch)
  np.testing.assert_array_equal(want, got)


def test_row_without_samples_has_no_audio():
  batch = pcm_batch(3)
  model = golden_data.model("forward_a")
  last = jax.tree.map(lambda x: x[2:], batch)
  text = {k: v for k, v in last.items() if k not in ("pcm", "num_samples")}
  assert features(text, 1024)[0] is None
  other = last | {"pcm": np.roll(last["pcm"], 1, 1)}
  silent = [loss(model, b)[0] for b in (last, text, other)]
  # The audio positions are masked or absent: another order of summation.
  np.testing.assert_allclose(silent, silent[0], rtol=1e-5)


def test_augmentation_needs_a_key():
  batch, model = pcm_batch(), golden_data.model("forward_a")
  augment = Augment(filter_db=6.0)
  plain = loss(model, batch)[0]
  assert loss(model, batch, None, augment=augment)[0] == plain
  keyed = [
    loss(model, batch, jax.random.key(i), augment=augment)[0] for i in (0, 0, 1)
  ]
  assert keyed[0] == keyed[1] != keyed[2]


def test_no_gradient_of_frozen_weights_is_computed():
  """No matmul of the compiled step gives a frozen weight's shape."""
  graphdef, trainable, frozen = parts()
  batch = jax.tree.map(lambda x: x[None], golden_data.batch("forward_a"))
  text = jax.make_jaxpr(lambda t, f, b: gradients(graphdef, t, f, b, None))(
    trainable, frozen, jax.tree.map(jnp.asarray, batch)
  )
  made = {
    var.aval.shape
    for eqn in _equations(text.jaxpr)
    if eqn.primitive.name == "dot_general"
    for var in eqn.outvars
  }
  mlp = (64, 176)  # the decoder's gate and up projections
  assert mlp not in made and mlp[::-1] not in made
  assert (48, 192) in made or (192, 48) in made  # the encoder's MLP is trained


def _equations(jaxpr):
  for eqn in jaxpr.eqns:
    yield eqn
    for value in eqn.params.values():
      inner = getattr(value, "jaxpr", value)
      if hasattr(inner, "eqns"):
        yield from _equations(inner)
