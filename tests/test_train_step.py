import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import golden_data
from ltu_jax import optim
from ltu_jax.audio.augment import Augment
from ltu_jax.audio.fbank import CLIP_SAMPLES, log_mel
from ltu_jax.data.openaqa import padding_row
from ltu_jax.data.tokenizer import SentencePieceTokenizer
from ltu_jax.sharding import make_mesh
from ltu_jax.train_state import new_state, split_params
from ltu_jax.train_step import (
  features,
  gradients,
  loss_sum,
  make_train_step,
  useful,
)

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
  # Two programs, which may round and sum in another order: some ulp of float32.
  np.testing.assert_allclose(got, want, rtol=1e-6)


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


@pytest.mark.slow
def test_padding_rows_change_nothing():
  """Rows of clips that cannot be read, among others and alone."""
  graphdef, trainable, frozen = parts()
  batch = pcm_batch(3)
  spm = SentencePieceTokenizer(golden_data.GOLDEN / "tiny_spm.model")
  padding = padding_row(spm, max_tokens=batch["tokens"].shape[1])
  padded = {
    key: np.stack([padding[key], *value[:2], padding[key], value[2]])
    for key, value in batch.items()
  }
  alone = {key: np.stack([value] * 2) for key, value in padding.items()}
  one = lambda b: jax.tree.map(lambda x: x[None], b)
  for audio in (True, False):
    keep = lambda b, audio=audio: one(
      {k: v for k, v in b.items() if audio or k != "pcm"}
    )
    grad = jax.jit(lambda b: gradients(graphdef, trainable, frozen, b, None))
    (g1, l1, n1), (g2, l2, n2) = grad(keep(batch)), grad(keep(padded))
    assert n1 == n2 > 0
    # Float32 in another order of summation; losses near 7, gradients up to
    # 0.2.
    np.testing.assert_allclose(l1, l2, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(g1), jax.tree.leaves(g2), strict=True):
      np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(g2)) > 1e-2
    g0, l0, n0 = grad(keep(alone))
    assert l0 == n0 == 0
    assert all((g == 0).all() for g in jax.tree.leaves(g0))


def test_the_step_counts_what_is_no_padding():
  graphdef, trainable, frozen = parts()
  mesh = make_mesh({}, jax.devices()[:1])
  step = make_train_step(graphdef, trainable, frozen, mesh)
  text = {k: v for k, v in pcm_batch(3).items() if k != "pcm"}
  text["segment_ids"][0] = 0
  text["loss_weights"][0] = 0
  text["segment_ids"][1] = [1, 1, 2, 2, 2, 3] + [0] * 18
  batch = jax.tree.map(lambda x: np.stack([x, x[[0, 0, 1]]]), text)
  schedule = optim.Schedule(1e-3, 1, 2)
  copy = jax.tree.map(jnp.copy, trainable)
  state = new_state(copy, jax.random.key(0), mesh)
  _, metrics = step(state, frozen, batch, schedule)
  assert metrics["skipped"] == 3
  # Row 1 twice and row 2 once, which is one question of 10 tokens.
  assert metrics["questions"] == 2 * 3 + 1
  assert metrics["tokens"] == 2 * 6 + 10


def test_a_clip_counts_once_a_row():
  segments = np.array([[1, 1, 2], [1, 0, 0], [0, 0, 0], [1, 2, 3]])
  text = {"segment_ids": segments}
  of = lambda batch: tuple(map(float, useful(text | batch, 32)))
  assert of({}) == (6, 7)
  # The third row is padding; the last has no clip.
  heard = {"pcm": np.zeros((4, 1)), "num_samples": np.array([9, 9, 9, 0])}
  assert of(heard) == (6, 7 + 2 * 32)
  assert of({"fbank": 0, "has_audio": np.array([1, 0, 1, 1]) > 0}) == (6, 71)


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
