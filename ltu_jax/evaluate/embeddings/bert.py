"""BERT's encoder with the mean over tokens on top.

Axis letters: L layers, B texts, T tokens, D width, H heads, V vocabulary.
J. Devlin et al., BERT, 2019; N. Reimers, I. Gurevych, Sentence-BERT, 2019.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange

ACTIVATIONS = {
  "gelu": functools.partial(jax.nn.gelu, approximate=False),
  "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
  "relu": jax.nn.relu,
}
"""Between the two layers of the MLP, by the name that a config.json has."""


@dataclasses.dataclass(frozen=True)
class BertConfig:
  """What the weights' shapes do not say.

  Attributes:
    num_heads: Heads of attention.
    epsilon: Of the layer norms.
    activation: One of ACTIVATIONS.
  """

  num_heads: int
  epsilon: float
  activation: str


@functools.partial(jax.jit, static_argnames="config")
def embed(
  weights: Mapping[str, Any],
  ids: jax.Array,
  mask: jax.Array,
  *,
  config: BertConfig,
) -> jax.Array:
  """Embeds sentences.

  Args:
    weights: `word` [V, D], `position` [at least T, D], `type` [D], `norm`
      (`scale`, `bias` [D]), and `layers`: see `_layer`; each with L in front.
    ids: int32 [B, T].
    mask: bool [B, T], where there are tokens; at least one in each text.
    config: The rest.

  Returns:
    float32 [B, D]: means over tokens, not of length 1.
  """
  # Else a TPU multiplies in bfloat16, and vectors depend on the machine.
  with jax.default_matmul_precision("highest"):
    position = weights["position"][: ids.shape[1]]
    x = weights["word"][ids] + position + weights["type"]
    x = _norm(x, weights["norm"], config.epsilon)
    step = lambda x, layer: (_layer(x, layer, mask, config), None)
    x, _ = jax.lax.scan(step, x, weights["layers"])
    share = mask / mask.sum(axis=1, keepdims=True)
    return jnp.einsum("btd,bt->bd", x, share)


def _layer(
  x: jax.Array,
  layer: Mapping[str, Any],
  mask: jax.Array,
  config: BertConfig,
) -> jax.Array:
  """Attention and MLP, each with its residual and a norm after it.

  Args:
    x: [B, T, D].
    layer: Dense layers `query`, `key`, `value`, `out`, `up`, `down` (`kernel`
      [out, in] as torch has them, `bias`), norms `out_norm`, `down_norm`.
    mask: bool [B, T].
    config: The rest.

  Returns:
    [B, T, D].
  """
  heads = lambda name: rearrange(
    _dense(x, layer[name]), "b t (h k) -> b t h k", h=config.num_heads
  )
  seen = jax.nn.dot_product_attention(
    heads("query"), heads("key"), heads("value"), mask=mask[:, None, None, :]
  )
  out = _dense(rearrange(seen, "b t h k -> b t (h k)"), layer["out"])
  x = _norm(x + out, layer["out_norm"], config.epsilon)
  hidden = ACTIVATIONS[config.activation](_dense(x, layer["up"]))
  out = _dense(hidden, layer["down"])
  return _norm(x + out, layer["down_norm"], config.epsilon)


def _dense(x: jax.Array, layer: Mapping[str, jax.Array]) -> jax.Array:
  """From [..., in] to [..., out]."""
  return jnp.einsum("...i,oi->...o", x, layer["kernel"]) + layer["bias"]


def _norm(
  x: jax.Array, norm: Mapping[str, jax.Array], epsilon: float
) -> jax.Array:
  """Layer norm over the last axis."""
  x = x - x.mean(axis=-1, keepdims=True)
  variance = jnp.square(x).mean(axis=-1, keepdims=True)
  return x * jax.lax.rsqrt(variance + epsilon) * norm["scale"] + norm["bias"]
