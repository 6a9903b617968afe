"""LTU: listen (encoder, projector), think and answer (LLaMA with LoRA).

Sequence of a row: `[A audio tokens][T text tokens]`. Axis letters: see lora.py;
A audio tokens (32 for 10.24 s), T text tokens, S = A + T.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from ltu_jax.models.ast import AudioEncoder, EncoderConfig
from ltu_jax.models.llama import Llama, LlamaConfig
from ltu_jax.models.lora import LoraConfig
from ltu_jax.models.projector import Projector, ProjectorConfig


@dataclasses.dataclass(frozen=True)
class LtuConfig:
  """The whole model; defaults are the published LTU-7B.

  Attributes:
    encoder: the audio encoder.
    projector: pooling and projection to the decoder's width.
    llama: the decoder.
    lora: adapters; rank 0 for none.
  """

  encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
  projector: ProjectorConfig = dataclasses.field(
    default_factory=ProjectorConfig
  )
  llama: LlamaConfig = dataclasses.field(default_factory=LlamaConfig)
  lora: LoraConfig = dataclasses.field(default_factory=LoraConfig)

  @property
  def num_audio_tokens(self) -> int:
    """A: audio tokens before the text."""
    return self.projector.num_tokens(self.encoder)

  @property
  def unquantized(self) -> "LtuConfig":
    """The same with the decoder's weights as they are stored."""
    llama = dataclasses.replace(self.llama, base_dtype="")
    return dataclasses.replace(self, llama=llama)

  def for_answering(self, dtype: str, base_dtype: str) -> "LtuConfig":
    """The same model, run in other dtypes.

    Args:
      dtype: One of ANSWERING_DTYPES: compute dtype of encoder and decoder;
        "bfloat16" is also the decoder's `param_dtype`. "" changes nothing.
      base_dtype: Key of quantized.GROUPS; "" changes nothing.

    Raises:
      ValueError: Another name; says which there are.
    """
    if dtype and dtype not in ANSWERING_DTYPES:
      raise ValueError(f"dtype {dtype!r}: '' or one of {ANSWERING_DTYPES}")
    encoder, llama = self.encoder, self.llama
    if dtype:
      encoder = dataclasses.replace(encoder, dtype=dtype)
      llama = dataclasses.replace(llama, dtype=dtype)
    if dtype == "bfloat16":
      llama = dataclasses.replace(llama, param_dtype=dtype)
    if base_dtype:
      llama = dataclasses.replace(llama, base_dtype=base_dtype)
    return dataclasses.replace(self, encoder=encoder, llama=llama)


ANSWERING_DTYPES = ["bfloat16", "float32"]
"""The compute dtypes that answering can be asked for."""

PART_TYPES = {
  field.name: field.default_factory for field in dataclasses.fields(LtuConfig)
}
"""Name of each part of the model -> the dataclass of its sizes."""


def part_of(path: str) -> str:
  """Which part of the model a parameter's path belongs to."""
  if path.rsplit("/", 1)[-1] in ("lora_a", "lora_b"):
    return "lora"
  return path.split("/", 1)[0]


STACKS = ("encoder/blocks/", "llama/layers/")
"""Parameters whose paths begin so have a leading axis of layers."""


def attention_mask(
  has_audio: jax.Array, segment_ids: jax.Array, num_audio: int
) -> jax.Array:
  """Who may look at whom.

  Audio is causal; a text token sees the row's audio and the earlier tokens of
  its own question. Padding (segment 0) is nobody's key; as a query it sees the
  audio, like the published model's left padding.

  Args:
    has_audio: bool [B]; False hides the audio tokens.
    segment_ids: int32 [B, T]; 0 padding, 1..n the question.
    num_audio: A; 0 for a sequence of text alone.

  Returns:
    bool [B, A + T, A + T], True where query (axis 1) sees key (axis 2).
  """
  batch, text = segment_ids.shape
  same = segment_ids[:, :, None] == segment_ids[:, None, :]
  same &= (segment_ids > 0)[:, None, :]
  total = num_audio + text
  mask = jnp.ones((batch, total, total), bool)
  mask = mask.at[:, num_audio:, num_audio:].set(same)
  mask = mask.at[:, :, :num_audio].set(has_audio[:, None, None])
  return mask & jnp.tril(jnp.ones((total, total), bool))


class LTU(nnx.Module):
  """Audio in, question in, logits of the text out."""

  def __init__(self, cfg: LtuConfig, *, rngs: nnx.Rngs):
    """Makes the model; the three parts draw start values in this order."""
    self.cfg = cfg
    self.encoder = AudioEncoder(cfg.encoder, rngs=rngs)
    self.projector = Projector(
      cfg.projector, cfg.encoder, cfg.llama.dim, rngs=rngs
    )
    self.llama = Llama(cfg.llama, cfg.lora, rngs=rngs)

  def audio_tokens(self, fbank: jax.Array) -> jax.Array:
    """Normalised filter banks [B, 1024, 128] -> audio tokens [B, A, D]."""
    with jax.named_scope("encoder"):
      patches = self.encoder(fbank)
    with jax.named_scope("projector"):
      return self.projector(patches).astype(self.cfg.llama.dtype)

  def hidden(
    self,
    fbank: jax.Array | None,
    has_audio: jax.Array,
    tokens: jax.Array,
    positions: jax.Array,
    segment_ids: jax.Array,
    key: jax.Array | None = None,
  ) -> jax.Array:
    """Final hidden states of the text positions: [B, T, D]; see __call__."""
    x = self.llama.embed(tokens)
    num_audio = 0
    if fbank is not None:
      num_audio = self.cfg.num_audio_tokens
      x = jnp.concatenate([self.audio_tokens(fbank), x], axis=1)
      first = jnp.arange(num_audio, dtype=positions.dtype)
      first = jnp.broadcast_to(first, (x.shape[0], num_audio))
      positions = jnp.concatenate([first, positions], axis=1)
    with jax.named_scope("decoder"):
      mask = attention_mask(has_audio, segment_ids, num_audio)
      hidden, _ = self.llama(x, positions, mask, key=key)
    return hidden[:, num_audio:]

  def __call__(
    self,
    fbank: jax.Array | None,
    has_audio: jax.Array,
    tokens: jax.Array,
    positions: jax.Array,
    segment_ids: jax.Array,
    key: jax.Array | None = None,
  ) -> jax.Array:
    """Logits of the text positions.

    Args:
      fbank: float32 [B, 1024, 128] normalised filter banks; None runs the
        decoder on text alone, without the A audio positions.
      has_audio: bool [B]; False hides a row's audio.
      tokens: int32 [B, T].
      positions: int32 [B, T]; A, A + 1, ... for each question.
      segment_ids: int32 [B, T]; 0 padding, 1..n the question.
      key: adapter dropout key; None switches dropout off.

    Returns:
      float32 [B, T, V].
    """
    return self.llama.logits(
      self.hidden(fbank, has_audio, tokens, positions, segment_ids, key)
    )


def build(cfg: LtuConfig, key: jax.Array) -> LTU:
  """Makes LTU with start values drawn from `key`."""
  # Layouts are set by jit's out_shardings (sharding.py), not at construction.
  with nnx.use_eager_sharding(False):
    return LTU(cfg, rngs=nnx.Rngs(key))


def abstract(cfg: LtuConfig) -> tuple[nnx.GraphDef, nnx.State]:
  """The model's structure and its parameters as shapes, using no memory."""
  return nnx.split(jax.eval_shape(lambda: build(cfg, jax.random.key(0))))
