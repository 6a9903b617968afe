"""Low-rank adapters: a frozen einsum weight plus a trainable low-rank branch.

Axis letters of this package: B batch, S sequence (32 audio + T text), D model,
N heads, K key/value heads, H head_dim, F mlp, V vocabulary, R LoRA rank,
L layers, E encoder width, M mel bins.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from ltu_jax.models import quantized, sizes
from ltu_jax.models.remat import keep

PROJECTIONS = (
  *("q_proj", "k_proj", "v_proj", "o_proj"),
  *("gate_proj", "up_proj", "down_proj"),
)
"""Weights of a decoder layer that can carry an adapter."""


@dataclasses.dataclass(frozen=True)
class LoraConfig:
  """Sizes of the adapters (LTU paper section 4; finetune.py of LTU).

  Attributes:
    rank: inner size of the low-rank branch; 0 builds no adapters.
    alpha: the branch is scaled by alpha / rank.
    dropout: probability of dropping an input of the branch, in training.
    targets: projections of each decoder layer that carry an adapter.
  """

  rank: int = 8
  alpha: float = 16.0
  dropout: float = 0.05
  targets: tuple[str, ...] = ("q_proj", "v_proj")

  def __post_init__(self):
    """Checks the fields; raises ValueError for what cannot be built."""
    sizes.check(self)
    if unknown := set(self.targets) - set(PROJECTIONS):
      raise ValueError(
        f"targets {sorted(unknown)}: no such projection; there are"
        f" {', '.join(PROJECTIONS)}"
      )


def _uniform_fan_in(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """PEFT's start of A: kaiming_uniform(a=sqrt(5)) = U(+-1/sqrt(fan_in))."""
  bound = shape[0] ** -0.5
  return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def keep_mask(
  key: jax.Array, keep: float, shape: tuple[int, ...]
) -> tuple[jax.Array, float]:
  """Draws what dropout keeps, two numbers from each random word of 32 bits.

  To make random words is most of dropout's cost (benchmarks/README.md).

  Args:
    key: decides the draw.
    keep: probability of True.
    shape: of the mask.

  Returns:
    bool mask, and the probability of True in it, `keep` to 16 bits.
  """
  words = jax.random.bits(key, (*shape[:-1], -(-shape[-1] // 2)))
  halves = jnp.concatenate([words & 0xFFFF, words >> 16], axis=-1)
  limit = max(1, round(keep * 2**16))
  return halves[..., : shape[-1]] < limit, limit / 2**16


class LoRAEinsum(nnx.Module):
  """y = einsum(x, w) + alpha / rank * dropout(x) a b.

  The weight's first axis (after `contract` axes) is contracted with the last
  axis of x; a is [D, R] and b is [R, *out], float32 whatever w is.
  """

  def __init__(
    self,
    shape: tuple[int, ...],
    axes: tuple[str, ...],
    *,
    lora: LoraConfig | None = None,
    param_dtype: jnp.dtype = jnp.float32,
    base_dtype: str = "",
    rngs: nnx.Rngs,
  ):
    """Makes the weight [D, *out] and, with `lora`, the adapter.

    Args:
      shape: shape of w; the first axis is contracted.
      axes: logical axis of each dimension of w.
      lora: adapter sizes; None or rank 0 for a plain einsum.
      param_dtype: dtype of w; adapters are float32.
      base_dtype: key of quantized.GROUPS, and w is integers beside `w_scale`;
        "" for neither.
      rngs: source of the start values.
    """
    # Fan-in scaling is 0.016 at LLaMA's width, near its published 0.02, and
    # still trains at the quickstart's width.
    init = nnx.initializers.variance_scaling(
      1.0, "fan_in", "normal", in_axis=0, out_axis=range(1, len(shape))
    )
    w = init(rngs.params(), shape, param_dtype)
    if base_dtype:
      w, scale = quantized.quantize(w, base_dtype)
      # Groups stay whole: their number need not divide.
      self.w_scale = nnx.Param(scale, out_sharding=(None, *axes[1:]))
    self.base_dtype = base_dtype
    self.w = nnx.Param(w, out_sharding=axes)
    self.lora = lora if lora and lora.rank else None
    if self.lora:
      rank = self.lora.rank
      self.lora_a = nnx.LoRAParam(
        _uniform_fan_in(rngs.params(), (shape[0], rank)),
        out_sharding=(axes[0], "rank"),
      )
      self.lora_b = nnx.LoRAParam(
        jnp.zeros((rank, *shape[1:]), jnp.float32),
        out_sharding=("rank", *axes[1:]),
      )

  def __call__(self, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Maps x [B, S, D] to [B, S, *out]; `key` switches adapter dropout on."""
    if self.base_dtype:
      y = quantized.dot(x, self.w[...], self.w_scale[...])
    else:
      y = jnp.tensordot(x, self.w[...].astype(x.dtype), axes=1)
    if not self.lora:
      return keep(y)
    scale = self.lora.alpha / self.lora.rank
    if key is not None and self.lora.dropout:
      mask, kept = keep_mask(key, 1.0 - self.lora.dropout, x.shape)
      x, scale = x * mask.astype(x.dtype), scale / kept
    low = jnp.tensordot(x, self.lora_a[...].astype(x.dtype), axes=1)
    up = jnp.tensordot(low, self.lora_b[...].astype(x.dtype), axes=1)
    return keep(y + scale * up)
