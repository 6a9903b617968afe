"""Arithmetic of a training step, from the model's sizes alone.

Letters: S = A + T tokens (A audio, T text), D width, N query heads, K key
heads, H head width, F mlp width, L layers, V vocabulary, R rank; P patches, X
prefix tokens, Q = P + X, E encoder width, B blocks; p numbers of a patch.
"""

import dataclasses
from collections.abc import Collection

from ltu_jax.models.ltu import LtuConfig

_FBANK_WINDOW = 512
_FBANK_MELS = 128


@dataclasses.dataclass(frozen=True)
class Flops:
  """FLOPs of matrix products for one question (2 a multiplication).

  Attributes:
    forward: the loss.
    backward: the gradients of what is trained, without recomputation.
    recomputed: what remat computes again.
    moving: products with constants that only move numbers, in all passes.
  """

  forward: int
  backward: int
  recomputed: int
  moving: int = 0

  @property
  def model(self) -> int:
    """What the mathematics needs, remat or not: forward and backward."""
    return self.forward + self.backward

  @property
  def executed(self) -> int:
    """What a chip computes."""
    return self.model + self.recomputed + self.moving


def filter_banks(num_frames: int) -> int:
  """FLOPs of a clip's filter banks, as audio/fbank.py computes them.

  T frames, each two products of 256 samples with 256 waves, and 256
  frequencies with 128 mels: T * 2 * (2 * 256 * 256 + 256 * 128).
  """
  half = _FBANK_WINDOW // 2
  return num_frames * 2 * (2 * half * half + half * _FBANK_MELS)


def train_row(
  cfg: LtuConfig,
  text_tokens: int,
  trained: Collection[str],
  *,
  audio: bool = True,
  pcm: bool = True,
  loss_chunk: int = 0,
) -> Flops:
  r"""FLOPs of one row of the batch, however many questions it has.

  Forward:
    decoder  L * (2 S (2 D N H + 2 D K H + 3 D F) + 4 S^2 N H)
    adapters L * 2 S R * sum over targets of (in + out)
    logits   2 (T - 1) D V
    encoder  2 P p E + B * (2 Q * 12 E^2 + 4 Q^2 E), 12 being 4 + 2 mlp_ratio
    bridge   2 A E D
  Attention counts all S^2 pairs: the mask does not save any. Padding counts.

  Backward: a product costs one more for the gradient of its input, and one for
  that of its weights where they are trained; attention two. So a frozen
  decoder and its logits cost one, a trained one two, adapters one or two, the
  encoder two (its patches one, as they need no gradient), the bridge one or
  two. Nothing goes into a frozen encoder.

  Recomputed with remat "full": the layers once more, without the last product
  of a layer whose result the gradient does not need: `down_proj` (2 S F D) and
  the encoder's `fc2` (2 Q 4 E^2). "dots" keeps what the weights' products give,
  and computes attention and the narrow half of adapters again, which do not
  count here; "none" keeps all. A
  loss in chunks makes the logits once more, those of the padding of the last
  chunk too, which is left out.

  Rotation moves halves of heads by a product, in each pass that has them:
  L * 2 S (N + K) H^2.

  Args:
    cfg: the model.
    text_tokens: T.
    trained: which of the model's parts (models.ltu.PART_TYPES) are trained.
    audio: whether the row hears a clip; else it is text alone, A = 0.
    pcm: whether filter banks are made in the step.
    loss_chunk: see train_step.
  """
  decoder = _decoder(cfg, text_tokens, trained, audio, loss_chunk)
  if not audio:
    return decoder
  enc, dim = cfg.encoder, cfg.llama.dim
  patches = enc.grid[0] * enc.grid[1]
  tokens = patches + enc.prefix_tokens
  patch = 2 * patches * enc.patch_mels * enc.patch_frames * enc.dim
  block = 2 * tokens * (4 + 2 * enc.mlp_ratio) * enc.dim**2
  block += 4 * tokens**2 * enc.dim
  bridge = 2 * cfg.num_audio_tokens * enc.dim * dim
  fbank = filter_banks(enc.num_frames) if pcm else 0

  recomputed = decoder.recomputed
  forward = decoder.forward + patch + block * enc.depth + bridge + fbank
  backward = decoder.backward + bridge * ("projector" in trained)
  if "encoder" in trained:
    backward += patch + 2 * block * enc.depth + bridge
    if enc.remat == "full":
      last = 2 * tokens * enc.mlp_ratio * enc.dim**2
      recomputed += (block - last) * enc.depth
  return Flops(forward, backward, recomputed, decoder.moving)


def _decoder(
  cfg: LtuConfig,
  text_tokens: int,
  trained: Collection[str],
  audio: bool,
  loss_chunk: int,
) -> Flops:
  """The decoder's part of `train_row`."""
  llama, lora, dim = cfg.llama, cfg.lora, cfg.llama.dim
  seq = text_tokens + (cfg.num_audio_tokens if audio else 0)
  heads, keys = llama.heads * llama.head_dim, llama.kv_heads * llama.head_dim
  weights = 2 * dim * heads + 2 * dim * keys + 3 * dim * llama.mlp_dim
  dense = 2 * seq * weights * llama.layers
  attention = 4 * seq * seq * heads * llama.layers
  sides = {
    "q_proj": dim + heads,
    "k_proj": dim + keys,
    "v_proj": dim + keys,
    "o_proj": heads + dim,
    "gate_proj": dim + llama.mlp_dim,
    "up_proj": dim + llama.mlp_dim,
    "down_proj": llama.mlp_dim + dim,
  }
  targets = lora.targets if lora.rank else ()
  adapter = 2 * seq * lora.rank * sum(sides[t] for t in targets) * llama.layers
  logits = 2 * (text_tokens - 1) * dim * llama.vocab
  backward = (dense + logits) * (1 + ("llama" in trained)) + 2 * attention
  backward += adapter * (1 + ("lora" in trained))
  recomputed = logits if 0 < loss_chunk < text_tokens - 1 else 0
  moving = 4 * seq * (heads + keys) * llama.head_dim * llama.layers
  if llama.remat != "none":
    moving += moving // 2
  if llama.remat == "full":
    last = 2 * seq * llama.mlp_dim * dim * llama.layers
    recomputed += dense + attention + adapter - last
  forward = dense + attention + adapter + logits
  return Flops(forward, backward, recomputed, moving)
