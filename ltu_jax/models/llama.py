"""LLaMA: the decoder that reads audio and text tokens.

Multi-head or grouped-query attention, rotary positions, SwiGLU, tied or untied
output. It takes embeddings, positions and a mask and knows nothing of audio.

Axis letters: see lora.py; Z slots of the key/value cache.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ltu_jax.models import quantized, sizes
from ltu_jax.models.lora import LoraConfig, LoRAEinsum
from ltu_jax.models.remat import remat
from ltu_jax.models.stack import stack
from ltu_jax.sharding import constrain


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
  """Sizes of the decoder; defaults are LLaMA-7B (Touvron et al., 2023).

  Attributes:
    vocab: token ids.
    dim: model width.
    mlp_dim: width of the SwiGLU.
    layers: decoder layers.
    heads: query heads.
    kv_heads: key/value heads; fewer than `heads` is grouped-query attention.
    head_dim: width of a head; 0 means dim / heads.
    rope_base: base of the rotary frequencies.
    norm_eps: RMSNorm epsilon.
    tied: the output matrix is the embedding.
    remat: key of remat.POLICIES.
    dtype: compute dtype.
    param_dtype: dtype of everything but the adapters.
    base_dtype: "int8" or "int4" keeps the matrices of the layers as integers
      (quantized.py), where no stage trains them; "" as `param_dtype`.
  """

  vocab: int = 32000
  dim: int = 4096
  mlp_dim: int = 11008
  layers: int = 32
  heads: int = 32
  kv_heads: int = 32
  head_dim: int = 0
  rope_base: float = 10000.0
  norm_eps: float = 1e-6
  tied: bool = False
  remat: str = "full"
  dtype: str = "bfloat16"
  param_dtype: str = "bfloat16"
  base_dtype: str = ""

  def __post_init__(self):
    """Fills in head_dim and checks the fields and that heads divide.

    Raises:
      ValueError: fields of another type, sizes that no model has, heads that do
        not divide, naming both; or no such dtype.
    """
    names = ("vocab", "dim", "mlp_dim", "heads", "kv_heads")
    sizes.check(self, names, ("layers",))
    quantized.check(self.base_dtype)
    if not self.head_dim:
      if self.dim % self.heads:
        raise ValueError(f"llama: {self.dim=} is no multiple of {self.heads=}")
      object.__setattr__(self, "head_dim", self.dim // self.heads)
    if self.heads % self.kv_heads:
      raise ValueError(
        f"llama: {self.heads=} is no multiple of {self.kv_heads=}"
      )
    if self.head_dim % 2:
      raise ValueError(f"llama: {self.head_dim=} must be even for rotation")


LLAMA_13B = LlamaConfig(
  dim=5120, mlp_dim=13824, layers=40, heads=40, kv_heads=40
)
"""LLaMA-13B (Touvron et al., 2023)."""

SMOLLM2_135M = LlamaConfig(
  vocab=49152,
  dim=576,
  mlp_dim=1536,
  layers=30,
  heads=9,
  kv_heads=3,
  rope_base=100_000.0,
  norm_eps=1e-5,
  tied=True,
)
"""SmolLM2-135M (Allal et al., 2025)."""


class KVCache(NamedTuple):
  """Keys and values of all layers: [L, B, Z, K, H] each."""

  k: jax.Array
  v: jax.Array


def init_cache(cfg: LlamaConfig, batch: int, slots: int) -> KVCache:
  """An empty cache of `slots` positions for `batch` rows, in `cfg.dtype`."""
  shape = (cfg.layers, batch, slots, cfg.kv_heads, cfg.head_dim)
  return KVCache(jnp.zeros(shape, cfg.dtype), jnp.zeros(shape, cfg.dtype))


def _write(cache: jax.Array, new: jax.Array, slot: jax.Array | int):
  """Writes [B, S, K, H] into [B, Z, K, H]; see DecoderLayer for `slot`."""
  if jnp.ndim(slot) == 0:
    return jax.lax.dynamic_update_slice_in_dim(cache, new, slot, axis=1)
  # Row by row: then a mesh that cuts the rows needs no collective.
  return jax.vmap(lambda c, x, s: c.at[s].set(x, mode="drop"))(cache, new, slot)


def rotate(x: jax.Array, positions: jax.Array, base: float) -> jax.Array:
  """Rotary position embedding, halves convention (as Hugging Face LLaMA).

  Args:
    x: [B, S, heads, H].
    positions: int32 [B, S].
    base: base of the frequencies.

  Returns:
    x rotated, in its dtype; computed in float32.
  """
  half = x.shape[-1] // 2
  # In float64: a rate's error grows with the position it is multiplied by.
  rate = (base ** (-np.arange(half) / half)).astype(np.float32)
  angle = positions[..., None, None].astype(jnp.float32) * np.tile(rate, 2)
  # The other half of each number, exactly: a TPU takes three times as long to
  # cut a head in two and to join it again (benchmarks/README.md).
  other = jnp.tensordot(
    x, quarter_turn(half).astype(x.dtype), axes=1, precision="highest"
  )
  x32, other = x.astype(jnp.float32), other.astype(jnp.float32)
  turned = x32 * jnp.cos(angle) + other * jnp.sin(angle)
  return turned.astype(x.dtype)


def quarter_turn(half: int) -> np.ndarray:
  """Matrix [H, H] by which (a, b), halves of a head, become (-b, a)."""
  zero, one = np.zeros((half, half)), np.eye(half)
  return np.block([[zero, one], [-one, zero]])


def _rms_norm(cfg: LlamaConfig, rngs: nnx.Rngs) -> nnx.RMSNorm:
  return nnx.RMSNorm(
    cfg.dim,
    epsilon=cfg.norm_eps,
    dtype=cfg.dtype,
    param_dtype=cfg.param_dtype,
    scale_metadata={"out_sharding": ("norm",)},
    rngs=rngs,
  )


class DecoderLayer(nnx.Module):
  """Pre-norm attention and SwiGLU, with adapters on the targets."""

  def __init__(
    self, cfg: LlamaConfig, lora: LoraConfig | None, *, rngs: nnx.Rngs
  ):
    """Makes one layer."""
    self.cfg = cfg
    dim, mlp = cfg.dim, cfg.mlp_dim
    shapes = {
      "q_proj": ((dim, cfg.heads, cfg.head_dim), "heads"),
      "k_proj": ((dim, cfg.kv_heads, cfg.head_dim), "kv_heads"),
      "v_proj": ((dim, cfg.kv_heads, cfg.head_dim), "kv_heads"),
    }
    targets = lora.targets if lora else ()
    make = lambda name, shape, axes: LoRAEinsum(
      shape,
      axes,
      lora=lora if name in targets else None,
      param_dtype=cfg.param_dtype,
      base_dtype=cfg.base_dtype,
      rngs=rngs,
    )
    self.input_norm = _rms_norm(cfg, rngs)
    self.post_attention_norm = _rms_norm(cfg, rngs)
    for name, (shape, heads) in shapes.items():
      setattr(self, name, make(name, shape, ("embed", heads, "head_dim")))
    # Heads are flattened: o_proj contracts one axis of heads * head_dim.
    self.o_proj = make(
      "o_proj", (cfg.heads * cfg.head_dim, dim), ("heads", "embed")
    )
    self.gate_proj = make("gate_proj", (dim, mlp), ("embed", "mlp"))
    self.up_proj = make("up_proj", (dim, mlp), ("embed", "mlp"))
    self.down_proj = make("down_proj", (mlp, dim), ("mlp", "embed"))

  def __call__(
    self,
    x: jax.Array,
    positions: jax.Array,
    mask: jax.Array,
    cache: KVCache | None = None,
    slot: jax.Array | int = 0,
    key: jax.Array | None = None,
  ) -> tuple[jax.Array, KVCache | None]:
    """One layer.

    Args:
      x: [B, S, D].
      positions: int32 [B, S].
      mask: bool [B, S, Z] (Z = S without a cache); True where a query may look.
      cache: this layer's keys and values [B, Z, K, H], or None.
      slot: where in the cache the S new positions are written, one after the
        other; or int32 [B, S], a slot for each, not written if it is Z or more.
      key: adapter dropout key, or None.

    Returns:
      [B, S, D] and the cache with the new positions.
    """
    keys = [None] * 7 if key is None else jax.random.split(key, 7)
    h = self.input_norm(x)
    q = rotate(self.q_proj(h, keys[0]), positions, self.cfg.rope_base)
    k = rotate(self.k_proj(h, keys[1]), positions, self.cfg.rope_base)
    v = self.v_proj(h, keys[2])
    if cache is not None:
      cache = KVCache(_write(cache.k, k, slot), _write(cache.v, v, slot))
      k, v = cache
    with jax.named_scope("attention"):
      att = jax.nn.dot_product_attention(q, k, v, mask=mask[:, None])
    x = x + self.o_proj(att.reshape(*x.shape[:2], -1), keys[3])
    h = self.post_attention_norm(x)
    h = jax.nn.silu(self.gate_proj(h, keys[4])) * self.up_proj(h, keys[5])
    return x + self.down_proj(h, keys[6]), cache


class Llama(nnx.Module):
  """Embedding, scanned decoder layers, final norm, output matrix."""

  def __init__(
    self, cfg: LlamaConfig, lora: LoraConfig | None, *, rngs: nnx.Rngs
  ):
    """Makes the decoder; `lora` None or rank 0 builds no adapters."""
    self.cfg = cfg
    normal = nnx.initializers.normal(0.02)  # Touvron et al. via HF's config
    self.embedding = nnx.Param(
      normal(rngs.params(), (cfg.vocab, cfg.dim), cfg.param_dtype),
      out_sharding=("vocab", "embed"),
    )
    self.layers = stack(
      lambda r: DecoderLayer(cfg, lora, rngs=r), cfg.layers, rngs
    )
    self.norm = _rms_norm(cfg, rngs)
    if not cfg.tied:
      self.lm_head = nnx.Param(
        normal(rngs.params(), (cfg.dim, cfg.vocab), cfg.param_dtype),
        out_sharding=("embed", "vocab"),
      )

  def embed(self, tokens: jax.Array) -> jax.Array:
    """int32 [B, T] -> [B, T, D] in the compute dtype."""
    return self.embedding[...][tokens].astype(self.cfg.dtype)

  def __call__(
    self,
    x: jax.Array,
    positions: jax.Array,
    mask: jax.Array,
    cache: KVCache | None = None,
    slot: jax.Array | int = 0,
    key: jax.Array | None = None,
  ) -> tuple[jax.Array, KVCache | None]:
    """Runs all layers and the final norm.

    Args:
      x: embeddings [B, S, D].
      positions: int32 [B, S].
      mask: bool [B, S, Z]; True where a query may look at a key.
      cache: keys and values of all layers, or None in training.
      slot: where in the cache the S new positions are written; see
        DecoderLayer.
      key: adapter dropout key, or None to switch dropout off.

    Returns:
      Hidden states [B, S, D] after the norm, and the new cache (None without).
    """
    keys = None if key is None else jax.random.split(key, self.cfg.layers)

    def body(x, layer_inputs):
      layer, layer_cache, layer_key = layer_inputs
      x, layer_cache = layer(x, positions, mask, layer_cache, slot, layer_key)
      return constrain(x, "batch", None, None), layer_cache

    x = constrain(x, "batch", None, None)
    x, cache = jax.lax.scan(
      remat(body, self.cfg.remat), x, (self.layers, cache, keys)
    )
    return self.norm(x), cache

  def logits(self, hidden: jax.Array) -> jax.Array:
    """[B, S, D] -> float32 [B, S, V]."""
    w = self.embedding[...].T if self.cfg.tied else self.lm_head[...]
    return jnp.einsum(
      "BSD,DV->BSV",
      hidden,
      w.astype(hidden.dtype),
      preferred_element_type=jnp.float32,
    )
