"""The ear: the audio branch of CAV-MAE, an audio spectrogram transformer.

Axis letters: see lora.py; P patches (8 frequency rows x 64 time steps), X
prefix tokens (none in LTU).
"""

import dataclasses

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx

from ltu_jax.models import sizes
from ltu_jax.models.remat import keep, remat
from ltu_jax.models.stack import stack
from ltu_jax.sharding import constrain


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
  """Sizes of the audio encoder; defaults are LTU's (CAV-MAE base).

  Attributes:
    dim: width.
    depth: transformer blocks (11 `blocks_a` + 1 `blocks_u` in the published
      state dict).
    heads: attention heads.
    mlp_ratio: width of the MLP over `dim`.
    patch_mels: mel bins of a patch.
    patch_frames: frames of a patch.
    num_frames: frames of 10 ms that go in.
    num_mels: mel bins that go in.
    norm_eps: layer norm epsilon; torch's default, not timm's 1e-6.
    prefix_tokens: X, learned tokens that go through the blocks before the
      patches and are cut off at the end. LTU has none; AST has two (class and
      distillation), which its patches attend to.
    remat: key of remat.POLICIES.
    dtype: compute dtype.
  """

  dim: int = 768
  depth: int = 12
  heads: int = 12
  mlp_ratio: int = 4
  patch_mels: int = 16
  patch_frames: int = 16
  num_frames: int = 1024
  num_mels: int = 128
  norm_eps: float = 1e-5
  prefix_tokens: int = 0
  remat: str = "full"
  dtype: str = "bfloat16"

  def __post_init__(self):
    """Checks the fields.

    Raises:
      ValueError: Of another type, sizes that no model has, or heads that do
        not divide, naming both.
    """
    names = ("dim", "heads", "mlp_ratio", "num_frames", "num_mels")
    sizes.check(self, (*names, "patch_mels", "patch_frames"), ("depth",))
    if self.dim % self.heads:
      raise ValueError(f"encoder: {self.dim=} is no multiple of {self.heads=}")

  @property
  def grid(self) -> tuple[int, int]:
    """Patches along (frequency, time)."""
    return (
      self.num_mels // self.patch_mels,
      self.num_frames // self.patch_frames,
    )


class _Linear(nnx.Module):
  """y = x w + b with w [in, *out], float32 weights."""

  def __init__(self, shape, axes, *, num_in: int = 1, rngs: nnx.Rngs):
    init = nnx.initializers.variance_scaling(
      1.0,
      "fan_in",
      "truncated_normal",
      in_axis=range(num_in),
      out_axis=range(num_in, len(shape)),
    )
    self.num_in = num_in
    self.w = nnx.Param(init(rngs.params(), shape), out_sharding=axes)
    self.b = nnx.Param(jnp.zeros(shape[num_in:]), out_sharding=axes[num_in:])

  def __call__(self, x: jax.Array) -> jax.Array:
    y = jnp.tensordot(x, self.w[...].astype(x.dtype), axes=self.num_in)
    return keep(y + self.b[...].astype(x.dtype))


def _layer_norm(cfg: EncoderConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
  return nnx.LayerNorm(
    cfg.dim,
    epsilon=cfg.norm_eps,
    dtype=cfg.dtype,
    # The one-pass variance cancels where the mean is large.
    use_fast_variance=False,
    scale_metadata={"out_sharding": ("norm",)},
    bias_metadata={"out_sharding": ("norm",)},
    rngs=rngs,
  )


class EncoderBlock(nnx.Module):
  """Pre-norm ViT block: attention, then MLP with exact GELU."""

  def __init__(self, cfg: EncoderConfig, *, rngs: nnx.Rngs):
    """Makes one block; `rngs` gives its start values."""
    dim, heads, hidden = cfg.dim, cfg.heads, cfg.dim * cfg.mlp_ratio
    head_dim = dim // heads
    self.norm1 = _layer_norm(cfg, rngs)
    self.qkv = _Linear(
      (dim, 3, heads, head_dim),
      ("audio_embed", "qkv", "audio_heads", "head_dim"),
      rngs=rngs,
    )
    self.proj = _Linear(
      (heads, head_dim, dim),
      ("audio_heads", "head_dim", "audio_embed"),
      num_in=2,
      rngs=rngs,
    )
    self.norm2 = _layer_norm(cfg, rngs)
    self.fc1 = _Linear((dim, hidden), ("audio_embed", "audio_mlp"), rngs=rngs)
    self.fc2 = _Linear((hidden, dim), ("audio_mlp", "audio_embed"), rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, X + P, E] -> [B, X + P, E]."""
    q, k, v = jnp.moveaxis(self.qkv(self.norm1(x)), 2, 0)
    with jax.named_scope("attention"):
      att = jax.nn.dot_product_attention(q, k, v)
    x = x + self.proj(att)
    h = jax.nn.gelu(self.fc1(self.norm2(x)), approximate=False)
    return x + self.fc2(h)


def sincos_positions(cfg: EncoderConfig) -> jax.Array:
  """The position table at the start: [1, P, E], time then frequency halves.

  Raises:
    ValueError: a width that is no multiple of 4.
  """
  if cfg.dim % 4:
    raise ValueError(f"encoder: {cfg.dim=} must be a multiple of 4")
  rows, cols = cfg.grid
  rate = 10000.0 ** (-jnp.arange(cfg.dim // 4) / (cfg.dim / 4))

  def wave(n):
    angle = jnp.outer(jnp.arange(n), rate)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)

  time = jnp.broadcast_to(wave(cols)[None], (rows, cols, cfg.dim // 2))
  freq = jnp.broadcast_to(wave(rows)[:, None], (rows, cols, cfg.dim // 2))
  both = jnp.concatenate([time, freq], axis=-1)
  return both.reshape(1, rows * cols, cfg.dim)


class AudioEncoder(nnx.Module):
  """Filter banks to patch features."""

  def __init__(self, cfg: EncoderConfig, *, rngs: nnx.Rngs):
    """Makes the encoder; `rngs` gives its start values."""
    self.cfg = cfg
    self.patch_embed = _Linear(
      (cfg.patch_mels * cfg.patch_frames, cfg.dim),
      ("patch", "audio_embed"),
      rngs=rngs,
    )
    self.pos_embed = nnx.Param(
      sincos_positions(cfg), out_sharding=(None, "position", "audio_embed")
    )
    self.modality = nnx.Param(
      0.02 * jax.random.normal(rngs.params(), (1, 1, cfg.dim)),
      out_sharding=(None, None, "audio_embed"),
    )
    self.blocks = stack(
      lambda r: EncoderBlock(cfg, rngs=r), cfg.depth, rngs=rngs
    )
    self.norm = _layer_norm(cfg, rngs)
    if cfg.prefix_tokens:
      # With their positions added in; last, so that the other start values are
      # the same with and without them.
      shape = (1, cfg.prefix_tokens, cfg.dim)
      self.prefix = nnx.Param(
        0.02 * jax.random.normal(rngs.params(), shape),
        out_sharding=(None, "position", "audio_embed"),
      )

  def __call__(self, fbank: jax.Array) -> jax.Array:
    """Encodes filter banks.

    Args:
      fbank: float32 [B, num_frames, num_mels], normalised.

    Returns:
      [B, P, E] after the last norm, in `cfg.dtype`; patches frequency-major.

    Raises:
      ValueError: filter banks of another shape than the config's.
    """
    cfg = self.cfg
    if fbank.shape[1:] != (cfg.num_frames, cfg.num_mels):
      raise ValueError(
        f"filter banks of shape {fbank.shape}: the encoder takes "
        f"[batch, {cfg.num_frames}, {cfg.num_mels}]"
      )
    # Frequency first inside a patch and between patches, as the published
    # model, which sees the spectrogram as an image of 128 rows.
    x = rearrange(
      fbank.astype(cfg.dtype),
      "b (t pt) (f pf) -> b (f t) (pf pt)",
      pt=cfg.patch_frames,
      pf=cfg.patch_mels,
    )
    x = self.patch_embed(x)
    x = x + self.pos_embed[...].astype(x.dtype)
    x = x + self.modality[...].astype(x.dtype)
    if cfg.prefix_tokens:
      shape = (x.shape[0], cfg.prefix_tokens, cfg.dim)
      prefix = jnp.broadcast_to(self.prefix[...].astype(x.dtype), shape)
      x = jnp.concatenate([prefix, x], axis=1)
    x = constrain(x, "batch", None, None)

    def body(x, block):
      return constrain(block(x), "batch", None, None), None

    x, _ = jax.lax.scan(remat(body, cfg.remat), x, self.blocks)
    return self.norm(x[:, cfg.prefix_tokens :])
