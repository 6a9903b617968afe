"""Properties of the decoder that the golden data does not reach."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ltu_jax.models.llama import Llama, LlamaConfig, init_cache
from ltu_jax.models.lora import LoraConfig, LoRAEinsum, keep_mask

CFG = LlamaConfig(
  vocab=50,
  dim=32,
  mlp_dim=48,
  layers=2,
  heads=4,
  kv_heads=2,
  dtype="float32",
  param_dtype="float32",
)
# float32 sums of 32 terms of size 1, in another order.
ATOL = 1e-5


def make(cfg=CFG, lora=None, seed=0) -> Llama:
  with nnx.use_eager_sharding(False):
    return Llama(cfg, lora, rngs=nnx.Rngs(seed))


def inputs(batch=2, steps=7):
  tokens = np.random.default_rng(0).integers(0, CFG.vocab, (batch, steps))
  positions = np.tile(np.arange(steps), (batch, 1))
  mask = np.tile(np.tril(np.ones((steps, steps), bool)), (batch, 1, 1))
  return tokens, positions, mask


def test_grouped_query_is_repeated_heads():
  """Two key/value heads for four queries = four heads, each twice."""
  grouped = make()
  full = make(dataclasses.replace(CFG, kv_heads=4))
  state = nnx.state(grouped)
  for name in ("k_proj", "v_proj"):
    w = state["layers"][name]["w"]
    w.set_value(jnp.repeat(w.get_value(), 2, axis=2))
  nnx.update(full, state)
  tokens, positions, mask = inputs()
  a, _ = make()(make().embed(tokens), positions, mask)
  b, _ = full(full.embed(tokens), positions, mask)
  np.testing.assert_allclose(a, b, rtol=0, atol=ATOL)


def test_tied_embeddings_have_no_output_matrix():
  tied = make(dataclasses.replace(CFG, tied=True))
  assert not hasattr(tied, "lm_head")
  hidden = np.random.default_rng(1).normal(size=(1, 3, CFG.dim))
  got = tied.logits(hidden.astype(np.float32))
  np.testing.assert_allclose(
    got, hidden @ np.asarray(tied.embedding[...]).T, rtol=0, atol=ATOL
  )


def test_cache_gives_the_same_hidden_states():
  """Token by token through the cache = all at once."""
  model = make()
  tokens, positions, mask = inputs()
  want, _ = model(model.embed(tokens), positions, mask)
  cache = init_cache(CFG, 2, tokens.shape[1])
  for i in range(tokens.shape[1]):
    x = model.embed(tokens[:, i : i + 1])
    got, cache = model(
      x, positions[:, i : i + 1], mask[:, i : i + 1], cache, slot=i
    )
    np.testing.assert_allclose(got[:, 0], want[:, i], rtol=0, atol=ATOL)


@pytest.mark.parametrize("policy", ["dots", "full"])
def test_remat_changes_no_gradient(policy):
  tokens, positions, mask = inputs()

  def loss(state, graphdef):
    model = nnx.merge(graphdef, state)
    hidden, _ = model(model.embed(tokens), positions, mask)
    return model.logits(hidden).std()

  grads = []
  for remat in ("none", policy):
    graphdef, state = nnx.split(make(dataclasses.replace(CFG, remat=remat)))
    grads.append(jax.jit(jax.grad(loss), static_argnums=1)(state, graphdef))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=ATOL), *grads
  )


def test_dots_keep_one_result_of_each_projection_that_is_needed():
  """Of adapters and rotation nothing, nor the last product's."""
  model = make(dataclasses.replace(CFG, remat="dots"), LoraConfig(rank=4))
  tokens, positions, mask = inputs()
  _, back = jax.vjp(lambda x: model(x, positions, mask)[0], model.embed(tokens))
  stacked = (CFG.layers, *tokens.shape)
  kept = [x.size for x in jax.tree.leaves(back) if x.shape[:3] == stacked]
  keys = CFG.kv_heads * CFG.head_dim
  # A layer's input, q, o; k, v; gate, up.
  widths = [CFG.dim] * 3 + [keys] * 2 + [CFG.mlp_dim] * 2
  assert sorted(kept) == sorted(np.prod(stacked) * w for w in widths)


def test_unknown_remat_policy_is_named():
  model = make(dataclasses.replace(CFG, remat="some"))
  tokens, positions, mask = inputs()
  with pytest.raises(ValueError, match=r"'some'.*dots"):
    model(model.embed(tokens), positions, mask)


def test_positions_are_relative():
  """Shifting all positions changes nothing: only distances count."""
  model = make()
  tokens, positions, mask = inputs()
  a, _ = model(model.embed(tokens), positions, mask)
  b, _ = model(model.embed(tokens), positions + 100, mask)
  # Angles of 100 rad are rounded to 4e-6 in float32.
  np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


def test_adapter_dropout_needs_a_key_and_scales():
  lora = LoraConfig(rank=4, dropout=0.5)
  model = make(lora=lora)
  b = model.layers.q_proj.lora_b
  b.set_value(jax.random.normal(jax.random.key(0), b.get_value().shape))
  tokens, positions, mask = inputs()
  run = lambda key: model(model.embed(tokens), positions, mask, key=key)[0]
  assert np.array_equal(run(None), run(None))
  one, two = run(jax.random.key(1)), run(jax.random.key(2))
  assert not np.array_equal(one, two)
  assert np.array_equal(one, run(jax.random.key(1)))


def test_dropout_keeps_its_share_and_the_sum():
  """Each random word decides twice; the two must know nothing of each other."""
  shape, keep = (8, 64, 513), 0.95
  mask, kept = keep_mask(jax.random.key(0), keep, shape)
  left, right = np.split(np.asarray(mask)[..., :512], 2, axis=-1)
  # Five standard deviations of means of so many draws.
  share = 5 * (keep * (1 - keep) / mask.size) ** 0.5
  assert abs(mask.mean() - keep) < share
  assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < (
    5 / left.size**0.5
  )
  assert abs(kept - keep) < 2**-16

  lora = LoraConfig(rank=1, alpha=1.0, dropout=1 - keep)
  with nnx.use_eager_sharding(False):
    linear = LoRAEinsum(
      (8192, 1), ("embed", "mlp"), lora=lora, rngs=nnx.Rngs(0)
    )
  linear.w.set_value(jnp.zeros((8192, 1)))
  linear.lora_a.set_value(jnp.full((8192, 1), 1 / 8192))
  linear.lora_b.set_value(jnp.ones((1, 1)))
  made = linear(jnp.ones((1, 64, 8192)), jax.random.key(0))
  spread = ((1 - keep) / keep / made.size / 8192) ** 0.5
  assert abs(made.mean() - 1) < 5 * spread


@pytest.mark.parametrize(
  "changes, words",
  [
    ({"heads": 3}, "dim"),
    ({"kv_heads": 3}, "kv_heads"),
    ({"head_dim": 7}, "even"),
  ],
)
def test_sizes_that_do_not_fit_are_named(changes, words):
  with pytest.raises(ValueError, match=words):
    dataclasses.replace(CFG, **{"head_dim": 0} | changes)


def test_unknown_lora_target_is_named():
  with pytest.raises(ValueError, match="r_proj"):
    make(lora=LoraConfig(targets=("r_proj",)))
