"""Forward pass, loss and every gradient against the published PyTorch code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import golden_data
from golden_gradients import LOSS_ATOL, TRAINABLE, compare_gradients
from ltu_jax.models import ast, llama
from ltu_jax.models.ltu import LTU, attention_mask
from ltu_jax.train_state import split_params
from ltu_jax.train_step import gradients, loss_sum

NAMES = ("forward_a", "forward_b")

# golden/README.md: the same runs in float64 differ by at most 1e-5 in hidden
# states and logits; ten times that leaves room for another order of summation.
ATOL = 1e-4


@functools.cache
def model(name: str) -> LTU:
  return golden_data.model(name)


def logits(m: LTU, b: dict) -> jax.Array:
  keys = ("fbank", "has_audio", "tokens", "positions", "segment_ids")
  return jax.jit(lambda m, *a: m(*a))(m, *(b[k] for k in keys))


@pytest.mark.parametrize("name", NAMES)
def test_encoder(name):
  out = model(name).encoder(golden_data.batch(name)["fbank"])
  want = golden_data.load(name)["out/encoder"]
  np.testing.assert_allclose(out, want, rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", NAMES)
def test_start_position_table(name):
  want = golden_data.load(name)["const/pos_embed_a_sincos"]
  got = ast.sincos_positions(golden_data.config(name).encoder)
  # sin and cos of angles up to 63 in float32: one rounding of the angle.
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_audio_tokens(name):
  out = model(name).audio_tokens(golden_data.batch(name)["fbank"])
  want = golden_data.load(name)["out/audio_tokens"]
  np.testing.assert_allclose(out, want, rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", NAMES)
def test_every_hidden_state(name):
  m, b = model(name), golden_data.batch(name)
  want = golden_data.load(name)["out/hidden_states"]
  audio, text = m.audio_tokens(b["fbank"]), m.llama.embed(b["tokens"])
  x = jnp.concatenate([audio, text], axis=1)
  first = np.tile(np.arange(32), (len(x), 1))
  positions = np.concatenate([first, b["positions"]], axis=1)
  mask = attention_mask(b["has_audio"], b["segment_ids"], 32)
  for i in range(m.cfg.llama.layers):
    np.testing.assert_allclose(x[:, 32:], want[i], rtol=0, atol=ATOL)
    layer = jax.tree.map(lambda a, i=i: a[i], m.llama.layers)
    x, _ = layer(x, positions, mask)
  np.testing.assert_allclose(
    m.llama.norm(x)[:, 32:], want[-1], rtol=0, atol=ATOL
  )


@pytest.mark.parametrize("name", NAMES)
def test_logits(name):
  got = logits(model(name), golden_data.batch(name))
  want = golden_data.load(name)["out/logits"]
  np.testing.assert_allclose(got, want, rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hidden", [True, False])
def test_logits_without_audio(name, hidden):
  """Audio hidden by the mask, or no audio positions at all: the same."""
  b = golden_data.batch(name)
  b["has_audio"] = np.zeros_like(b["has_audio"])
  b["fbank"] = b["fbank"] if hidden else None
  got = logits(model(name), b)
  want = golden_data.load(name)["noaudio/logits"]
  real = b["segment_ids"] > 0  # padding attends to nothing; see the README
  np.testing.assert_allclose(got[real], want[real], rtol=0, atol=ATOL)


@pytest.mark.parametrize("name", NAMES)
def test_loss(name):
  total, count = loss_sum(model(name), golden_data.batch(name))
  want = golden_data.load(name)["out/loss"]
  np.testing.assert_allclose(total / count, want, rtol=0, atol=LOSS_ATOL)


@pytest.mark.parametrize("name", NAMES)
def test_every_gradient(name):
  graphdef, params = nnx.split(model(name))
  trainable, frozen = split_params(params, TRAINABLE)
  batch = jax.tree.map(lambda x: x[None], golden_data.batch(name))
  grads, loss, _ = jax.jit(lambda t, f, b: gradients(graphdef, t, f, b, None))(
    trainable, frozen, batch
  )
  compare_gradients(name, loss, grads)


def test_wrong_epsilon_fails():
  """timm's 1e-6 for torch's 1e-5 must show (0.2 in the logits of b)."""
  name = "forward_b"
  cfg = golden_data.with_encoder(golden_data.config(name), norm_eps=1e-6)
  got = logits(golden_data.model(name, cfg), golden_data.batch(name))
  diff = np.abs(got - golden_data.load(name)["out/logits"]).max()
  assert diff > 100 * ATOL


def test_tanh_gelu_fails(monkeypatch):
  """A tanh GELU must show (2e-4 in the logits of a)."""
  gelu = jax.nn.gelu
  monkeypatch.setattr(jax.nn, "gelu", lambda x, approximate: gelu(x))
  m, b = golden_data.model("forward_a"), golden_data.batch("forward_a")
  keys = ("fbank", "has_audio", "tokens", "positions", "segment_ids")
  got = m(*(b[k] for k in keys))
  diff = np.abs(got - golden_data.load("forward_a")["out/logits"]).max()
  assert diff > 1.5 * ATOL


def test_wrong_llama_epsilon_fails():
  cfg = golden_data.config("forward_b")
  small = llama.LlamaConfig(**{**vars(cfg.llama), "norm_eps": 1e-5})
  cfg = type(cfg)(encoder=cfg.encoder, llama=small, lora=cfg.lora)
  got = logits(
    golden_data.model("forward_b", cfg), golden_data.batch("forward_b")
  )
  diff = np.abs(got - golden_data.load("forward_b")["out/logits"]).max()
  assert diff > 10 * ATOL
