"""From the ear's patches to 32 tokens of the language model's width.

Axis letters: see lora.py; A audio tokens.
"""

import dataclasses

import jax
import jax.numpy as jnp
from einops import reduce
from flax import nnx

from ltu_jax.models import sizes
from ltu_jax.models.ast import EncoderConfig


@dataclasses.dataclass(frozen=True)
class ProjectorConfig:
  """How patches are pooled; constants of the published forward pass.

  Attributes:
    time_pool: neighbouring time steps that are averaged.
    scale: patches are divided by it before the norm, so that the norm's
      epsilon weighs as in the published model.
    norm_eps: epsilon of the norm without weights.
  """

  time_pool: int = 2
  scale: float = 50.0
  norm_eps: float = 1e-5

  def __post_init__(self):
    """Checks the fields; raises ValueError for those of another type."""
    sizes.check(self, ("time_pool",))

  def num_tokens(self, encoder: EncoderConfig) -> int:
    """Audio tokens per clip: 32 for 10.24 s."""
    return encoder.grid[1] // self.time_pool


class Projector(nnx.Module):
  """Mean over frequency, mean of time pairs, norm, linear with bias."""

  def __init__(
    self,
    cfg: ProjectorConfig,
    encoder: EncoderConfig,
    dim: int,
    *,
    rngs: nnx.Rngs,
  ):
    """Makes a projection from the encoder's width to `dim`."""
    self.cfg, self.grid = cfg, encoder.grid
    init = nnx.initializers.lecun_normal()
    self.w = nnx.Param(
      init(rngs.params(), (encoder.dim, dim)),
      out_sharding=("audio_embed", None),
    )
    self.b = nnx.Param(jnp.zeros((dim,)), out_sharding=(None,))

  def __call__(self, patches: jax.Array) -> jax.Array:
    """[B, P, E] -> [B, A, D] in the dtype of `patches`."""
    x = reduce(
      patches.astype(jnp.float32),
      "b (f t pool) e -> b t e",
      "mean",
      f=self.grid[0],
      pool=self.cfg.time_pool,
    )
    x = x / self.cfg.scale
    x = x - x.mean(-1, keepdims=True)
    variance = jnp.mean(x * x, -1, keepdims=True)
    x = (x * jax.lax.rsqrt(variance + self.cfg.norm_eps)).astype(patches.dtype)
    y = jnp.tensordot(x, self.w[...].astype(x.dtype), axes=1)
    return y + self.b[...].astype(x.dtype)
