"""Sampling against the published logit processors (golden/sampling.npz)."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltu_jax import sampling

GOLDEN = pathlib.Path(__file__).parent / "golden" / "sampling.npz"


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN) as file:
    return dict(file)


def settings(golden, case):
  names = ("temperature", "top_p", "top_k", "repetition_penalty")
  return tuple(golden[f"{case}/{name}"].item() for name in names)


def penalised(golden, case, penalty):
  ids = jnp.asarray(golden[f"{case}/input_ids"], jnp.int32)
  logits = jnp.asarray(golden[f"{case}/logits"])
  seen = sampling.seen_tokens(ids, jnp.ones(ids.shape, bool), logits.shape[1])
  return sampling.penalise(logits, seen, penalty)


@pytest.mark.parametrize("case", ["ltu", "narrow", "wide"])
@pytest.mark.parametrize("jit", [False, True])
def test_golden(golden, case, jit):
  temperature, top_p, top_k, penalty = settings(golden, case)
  scores = penalised(golden, case, penalty)
  # One float32 multiplication or division: at most an ulp (6e-8 relative).
  np.testing.assert_allclose(
    scores, golden[f"{case}/penalised"], rtol=1.2e-7, atol=0
  )
  warp = jax.jit(sampling.warp) if jit else sampling.warp
  warped = np.asarray(warp(scores, temperature, top_k, top_p))
  expected = golden[f"{case}/warped"]
  np.testing.assert_array_equal(np.isinf(warped), np.isinf(expected))
  # Two roundings (penalty, temperature) of 6e-8 each.
  np.testing.assert_allclose(warped, expected, rtol=2.4e-7, atol=0)
  # A probability moves by the absolute error of its logit, here up to 2.4e-7
  # of values up to about 50, so 1e-5 relative.
  np.testing.assert_allclose(
    jax.nn.softmax(warped), golden[f"{case}/probabilities"], rtol=2e-5, atol=0
  )


def test_another_order_fails_the_golden_pattern(golden):
  """Top p before temperature, or before top k, is not what was published."""
  temperature, top_p, top_k, penalty = settings(golden, "narrow")
  scores = penalised(golden, "narrow", penalty)
  expected = np.isinf(golden["narrow/warped"])
  p_first = sampling.warp(scores, 1.0, 0, top_p)
  p_first = sampling.warp(p_first, temperature, top_k, 1.0)
  assert (np.isinf(p_first) != expected).any()
  k_last = sampling.warp(scores, temperature, 0, top_p)
  k_last = sampling.warp(k_last, 1.0, top_k, 1.0)
  assert (np.isinf(k_last) != expected).any()


def test_padding_is_not_seen():
  tokens = jnp.array([[5, 3, 0, 0], [7, 7, 1, 0]])
  mask = jnp.array([[1, 1, 0, 0], [1, 1, 1, 1]], bool)
  seen = np.asarray(sampling.seen_tokens(tokens, mask, 9))
  assert [set(np.flatnonzero(row)) for row in seen] == [{3, 5}, {0, 1, 7}]


def test_penalty_signs_by_hand():
  logits = jnp.array([[2.0, -2.0, 2.0, 0.0]])
  seen = jnp.array([[True, True, False, True]])
  np.testing.assert_array_equal(
    sampling.penalise(logits, seen, 2.0), [[1.0, -4.0, 2.0, 0.0]]
  )


def test_filters_by_hand():
  """Probabilities 0.4, 0.3, 0.2, 0.1."""
  logits = jnp.log(jnp.array([[0.3, 0.1, 0.4, 0.2]]))

  def kept(top_k, top_p):
    warped = sampling.warp(logits, 1.0, top_k, top_p)
    return set(np.flatnonzero(np.isfinite(warped[0])).tolist())

  assert kept(0, 1.0) == {0, 1, 2, 3}
  assert kept(2, 1.0) == {0, 2}
  assert kept(99, 1.0) == {0, 1, 2, 3}
  assert kept(0, 0.65) == {0, 2}
  assert kept(0, 0.75) == {0, 2, 3}
  assert kept(0, 1e-6) == {2}
  # Of the two that top k leaves, the first has 4/7 = 0.57: enough for 0.5,
  # while of all four it has 0.4.
  assert kept(2, 0.5) == {2}
  assert kept(0, 0.5) == {0, 2}


def test_rows_can_have_their_own_settings():
  logits = jax.random.normal(jax.random.key(0), (3, 50))
  t = jnp.array([[0.5], [1.0], [2.0]])
  k = jnp.array([[5], [0], [50]])
  p = jnp.array([[1.0], [0.7], [0.3]])
  together = sampling.warp(logits, t, k, p)
  for row in range(3):
    alone = sampling.warp(
      logits[row : row + 1], t[row, 0], k[row, 0], p[row, 0]
    )
    np.testing.assert_array_equal(together[row], alone[0])


def test_ties_stay_together():
  logits = jnp.array([[1.0, 1.0, 1.0, 0.0]])
  warped = sampling.warp(logits, 1.0, 2, 1.0)
  np.testing.assert_array_equal(np.isfinite(warped), [[1, 1, 1, 0]])


def test_draws_follow_the_probabilities():
  """20,000 draws: each frequency within five standard deviations."""
  probabilities = np.array([0.5, 0.25, 0.15, 0.1])
  n = 20_000
  scores = jnp.tile(jnp.log(jnp.asarray(probabilities)), (n, 1))
  keys = jax.random.split(jax.random.key(1), n)
  tokens = sampling.sample(keys, scores, 1.0, 3, 1.0)
  expected = np.array([0.5, 0.25, 0.15, 0.0]) / 0.9
  frequency = np.bincount(tokens, minlength=4) / n
  deviation = np.sqrt(expected * (1 - expected) / n)
  assert (np.abs(frequency - expected) <= 5 * deviation).all()


def test_a_draw_does_not_depend_on_the_batch():
  scores = jax.random.normal(jax.random.key(0), (4, 100))
  keys = jax.random.split(jax.random.key(1), 4)
  together = sampling.sample(keys, scores, 1.0, 50, 0.9)
  alone = [
    sampling.sample(keys[i : i + 1], scores[i : i + 1], 1.0, 50, 0.9)[0]
    for i in range(4)
  ]
  np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
  "field, value",
  [
    ("temperature", -0.1),
    ("temperature", float("nan")),
    ("top_p", 0.0),
    ("top_p", 1.1),
    ("top_k", -1),
    ("repetition_penalty", 0.0),
    ("max_new_tokens", 0),
  ],
)
def test_bad_settings_are_named(field, value):
  with pytest.raises(ValueError, match=f"^{field} is "):
    sampling.SamplingConfig(**{field: value})


def test_presets():
  expected = sampling.SamplingConfig(0.1, 0.95, 500, 1.1, 400)
  assert expected == sampling.PUBLISHED
  assert not sampling.PUBLISHED.greedy
  assert sampling.GREEDY.greedy
