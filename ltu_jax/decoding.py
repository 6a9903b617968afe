"""The compiled part of generation: prefill and one loop, with a cache.

Slots of the key/value cache:

  [A audio][P prompt, right-padded][N answer]

A slot that a row does not use is masked, and positions count only what is
there: audio 0..A-1, prompt A.., answer after the prompt; without audio the
prompt starts at 0.

Letters: B rows, P prompt slots, N answer slots, A audio tokens, V vocabulary,
D width, Z = A + P + N slots.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ltu_jax import sampling
from ltu_jax.audio.fbank import log_mel
from ltu_jax.models.llama import KVCache, init_cache
from ltu_jax.models.ltu import LTU, attention_mask


class Inputs(NamedTuple):
  """A padded batch.

  Attributes:
    pcm: int16 [B, CLIP_SAMPLES], or None.
    fbank: float32 [B, 1024, 128], or None; not both.
    num_samples: int32 [B], 0 where a row has no audio.
    tokens: int32 [B, P], right-padded.
    lengths: int32 [B] of the prompts; 0 for a row that only fills the batch.
    keys: JAX keys [B].
  """

  pcm: jax.Array | None
  fbank: jax.Array | None
  num_samples: jax.Array
  tokens: jax.Array
  lengths: jax.Array
  keys: jax.Array


class Settings(NamedTuple):
  """What may change without another compilation; scalars.

  Attributes:
    temperature: See SamplingConfig, as the next three.
    top_k: Same.
    top_p: Same.
    penalty: Same.
    limit: The most new tokens, at most N.
    eos: The end token's id.
  """

  temperature: float
  top_k: int
  top_p: float
  penalty: float
  limit: int
  eos: int


class Loop(NamedTuple):
  """The decoding loop's state.

  Attributes:
    step: int32 scalar, tokens drawn so far.
    done: bool [B], rows that have ended.
    counts: int32 [B], each answer's tokens so far.
    token: int32 [B], the last one.
    answers: int32 [B, N].
    seen: bool [B, V], tokens of prompt and answer.
    cache: Keys and values, Z slots.
    logits: float32 [N, B, V], or None when not asked for.
    scores: Same, after the penalty.
  """

  step: jax.Array
  done: jax.Array
  counts: jax.Array
  token: jax.Array
  answers: jax.Array
  seen: jax.Array
  cache: KVCache
  logits: jax.Array | None
  scores: jax.Array | None


@functools.partial(jax.jit, static_argnames=("slots", "greedy", "trace"))
def decode(
  model: LTU,
  inputs: Inputs,
  settings: Settings,
  *,
  slots: int,
  greedy: bool,
  trace: bool,
) -> Loop:
  """Reads the prompts, then draws tokens until all rows have ended.

  Args:
    model: The model.
    inputs: The padded batch.
    settings: Traced settings.
    slots: N.
    greedy: Take the most likely token.
    trace: Keep logits and scores.

  Returns:
    The final state.
  """
  batch, prompt_slots = inputs.tokens.shape
  vocab = model.cfg.llama.vocab
  logits, cache, usable, first = prefill(model, inputs, slots)
  real = jnp.arange(prompt_slots) < inputs.lengths[:, None]
  kept = jnp.zeros((slots, batch, vocab), jnp.float32) if trace else None
  loop = Loop(
    step=jnp.int32(0),
    done=inputs.lengths == 0,
    counts=jnp.zeros(batch, jnp.int32),
    token=jnp.zeros(batch, jnp.int32),
    answers=jnp.zeros((batch, slots), jnp.int32),
    seen=sampling.seen_tokens(inputs.tokens, real, vocab),
    cache=cache,
    logits=kept,
    scores=kept,
  )
  draw = functools.partial(
    _draw, settings=settings, keys=inputs.keys, greedy=greedy
  )

  def advance(loop: Loop) -> Loop:
    logits, cache = read_token(
      model, loop.token, loop.step, loop.cache, usable, first, slots
    )
    return draw(loop._replace(cache=cache), logits)

  return jax.lax.while_loop(
    lambda loop: (loop.step < settings.limit) & ~loop.done.all(),
    advance,
    draw(loop, logits),
  )


def prefill(
  model: LTU, inputs: Inputs, slots: int
) -> tuple[jax.Array, KVCache, jax.Array, jax.Array]:
  """Runs audio and prompts through the decoder.

  Args:
    model: The model.
    inputs: The padded batch.
    slots: N, room in the cache for the answer.

  Returns:
    float32 [B, V] logits after each row's last prompt token; the cache of Z
    slots; bool [B, Z], its slots that hold something; int32 [B], the position
    of the first answered token.
  """
  batch, prompt_slots = inputs.tokens.shape
  x = model.llama.embed(inputs.tokens)
  has_audio = inputs.num_samples > 0
  fbank, num_audio = inputs.fbank, 0
  if inputs.pcm is not None:
    fbank = log_mel(inputs.pcm, inputs.num_samples)
  if fbank is not None:
    num_audio = model.cfg.num_audio_tokens
    x = jnp.concatenate([model.audio_tokens(fbank), x], axis=1)
  offset = jnp.where(has_audio, num_audio, 0)[:, None]
  positions = jnp.concatenate(
    [
      jnp.broadcast_to(jnp.arange(num_audio), (batch, num_audio)),
      offset + jnp.arange(prompt_slots),
    ],
    axis=1,
  )
  real = jnp.arange(prompt_slots) < inputs.lengths[:, None]
  mask = attention_mask(has_audio, real.astype(jnp.int32), num_audio)
  mask = jnp.pad(mask, ((0, 0), (0, 0), (0, slots)))
  cache = init_cache(model.cfg.llama, batch, num_audio + prompt_slots + slots)
  hidden, cache = model.llama(x, positions, mask, cache)
  last = num_audio + jnp.maximum(inputs.lengths, 1) - 1
  hidden = jnp.take_along_axis(hidden, last[:, None, None], axis=1)
  usable = jnp.concatenate(
    [
      jnp.broadcast_to(has_audio[:, None], (batch, num_audio)),
      real,
      jnp.zeros((batch, slots), bool),
    ],
    axis=1,
  )
  first = offset[:, 0] + inputs.lengths
  return model.llama.logits(hidden)[:, 0], cache, usable, first


def read_token(
  model: LTU,
  token: jax.Array,
  step: jax.Array,
  cache: KVCache,
  usable: jax.Array,
  first: jax.Array,
  slots: int,
) -> tuple[jax.Array, KVCache]:
  """Runs each row's last answered token through the decoder.

  Args:
    model: The model.
    token: int32 [B].
    step: int32 scalar, tokens of the answers so far, this one included.
    cache: Keys and values before it, Z slots.
    usable: From `prefill`.
    first: From `prefill`.
    slots: N.

  Returns:
    float32 [B, V] logits after the token, and the cache with it.
  """
  start = usable.shape[1] - slots
  answered = (jnp.arange(slots) < step)[None, :]
  mask = usable.at[:, start:].set(answered)
  hidden, cache = model.llama(
    model.llama.embed(token[:, None]),
    (first + step - 1)[:, None],
    mask[:, None, :],
    cache,
    start + step - 1,
  )
  return model.llama.logits(hidden)[:, 0], cache


def _draw(
  loop: Loop,
  logits: jax.Array,
  *,
  settings: Settings,
  keys: jax.Array,
  greedy: bool,
) -> Loop:
  """Chooses each row's next token from float32 logits [B, V]."""
  scores = sampling.penalise(logits, loop.seen, settings.penalty)
  if greedy:
    token = jnp.argmax(scores, axis=-1).astype(jnp.int32)
  else:
    # Numbered by the answer's own steps: the same draw in any batch.
    step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, loop.step)
    token = sampling.sample(
      step_keys, scores, settings.temperature, settings.top_k, settings.top_p
    )
  drawn = ~loop.done
  column = jnp.where(drawn, token, 0)
  keep = lambda all_steps, new: (
    None if all_steps is None else all_steps.at[loop.step].set(new)
  )
  rows = jnp.arange(token.shape[0])
  return loop._replace(
    step=loop.step + 1,
    done=loop.done | (token == settings.eos),
    counts=loop.counts + drawn,
    token=token,
    answers=loop.answers.at[:, loop.step].set(column),
    seen=loop.seen.at[rows, token].set(True),
    logits=keep(loop.logits, logits),
    scores=keep(loop.scores, scores),
  )
