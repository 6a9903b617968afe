"""The compiled part of the engine: rows of one cache that come and go.

Each row of the cache is one sequence, `[A audio][prompt][answer]`, no gaps
(without audio, the prompt begins at slot 0), so the slot of a token is its
position. Rows are independent: one is read anew while the others go on.

Letters: B rows of the cache, R rows that are read together, Z slots, P prompt
slots, N steps of one call, A audio tokens, V vocabulary, D width, L layers.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ltu_jax import sampling
from ltu_jax.audio.fbank import log_mel
from ltu_jax.models.llama import KVCache, init_cache
from ltu_jax.models.ltu import LTU
from ltu_jax.sharding import constrain


class Choice(NamedTuple):
  """How each row's tokens are chosen; see SamplingConfig.

  Attributes:
    temperature: float32 [B]; 0 takes the most likely token.
    top_k: int32 [B].
    top_p: float32 [B].
    penalty: float32 [B].
    limit: int32 [B], the most tokens of an answer.
    key: JAX keys [B], of the draws.
  """

  temperature: jax.Array
  top_k: jax.Array
  top_p: jax.Array
  penalty: jax.Array
  limit: jax.Array
  key: jax.Array


class Rows(NamedTuple):
  """All rows, on the devices.

  Attributes:
    cache: Keys and values, Z slots.
    length: int32 [B], slots in use.
    token: int32 [B], the last token drawn, which is not in the cache yet.
    count: int32 [B], tokens of the answer so far.
    active: bool [B], rows whose answer goes on.
    seen: bool [B, V], tokens of prompt and answer.
    choice: How tokens are chosen.
  """

  cache: KVCache
  length: jax.Array
  token: jax.Array
  count: jax.Array
  active: jax.Array
  seen: jax.Array
  choice: Choice


class New(NamedTuple):
  """Rows to be read, R of them.

  Attributes:
    target: int32 [R], the row of the cache that each becomes; B for one that
      only fills the batch.
    source: int32 [R], the row of the cache that holds its beginning.
    start: int32 [R], how many slots of that are kept.
    tokens: int32 [R, P], what comes after them, right-padded.
    length: int32 [R], tokens of each, at least 1.
    seen: bool [R, V], tokens of the whole prompt.
    choice: How tokens are chosen, [R] each; its keys are made of the next two.
    seed: uint32 [R].
    sample: int32 [R], number among the answers to one prompt with one seed.
  """

  target: jax.Array
  source: jax.Array
  start: jax.Array
  tokens: jax.Array
  length: jax.Array
  seen: jax.Array
  choice: Choice
  seed: jax.Array
  sample: jax.Array


@functools.partial(jax.jit, static_argnames=("batch", "slots"))
def empty(model: LTU, *, batch: int, slots: int) -> Rows:
  """B rows of Z slots, none active."""
  zeros = jnp.zeros(batch, jnp.int32)
  cfg = model.cfg.llama
  return Rows(
    cache=_laid(init_cache(cfg, batch, slots)),
    length=zeros,
    token=zeros,
    count=zeros,
    active=jnp.zeros(batch, bool),
    seen=jnp.zeros((batch, cfg.vocab), bool),
    choice=Choice(
      temperature=jnp.zeros(batch),
      top_k=zeros,
      top_p=jnp.ones(batch),
      penalty=jnp.ones(batch),
      limit=zeros,
      key=jax.random.split(jax.random.key(0), batch),
    ),
  )


@jax.jit
def listen(model: LTU, pcm: jax.Array, num_samples: jax.Array) -> jax.Array:
  """int16 [R, CLIP_SAMPLES] and int32 [R] -> audio tokens [R, A, D]."""
  return model.audio_tokens(log_mel(pcm, num_samples))


@functools.partial(jax.jit, donate_argnames="rows")
def read(
  model: LTU, rows: Rows, new: New, audio: jax.Array | None, eos: int
) -> tuple[Rows, jax.Array]:
  """Reads the prompts of new rows and draws their first tokens.

  Args:
    model: The model.
    rows: The rows as they are.
    new: The rows to read.
    audio: [R, A, D] audio tokens that come before the text, for all of them or
      (None) for none.
    eos: The end token's id.

  Returns:
    All rows, and int32 [R] first tokens.
  """
  slots = rows.cache.k.shape[2]
  x = model.llama.embed(new.tokens)
  num_audio = 0
  if audio is not None:
    num_audio = audio.shape[1]
    x = jnp.concatenate([audio, x], axis=1)
  step = jnp.arange(x.shape[1])
  at = new.start[:, None] + step
  end = num_audio + new.length
  # Padding is written nowhere; its queries see what is before them.
  write = jnp.where(step < end[:, None], at, slots)
  mask = jnp.arange(slots) <= at[:, :, None]
  key = lambda seed, sample: jax.random.fold_in(jax.random.key(seed), sample)
  choice = new.choice._replace(key=jax.vmap(key)(new.seed, new.sample))
  held = jax.tree.map(lambda c: c[:, new.source], rows.cache)
  hidden, held = model.llama(x, at, mask, held, write)
  last = jnp.take_along_axis(hidden, end[:, None, None] - 1, axis=1)
  logits = model.llama.logits(last)[:, 0]
  token = _draw(logits, new.seen, choice, jnp.zeros_like(end))
  put = lambda old, value: old.at[new.target].set(value, mode="drop")
  seen = new.seen.at[jnp.arange(len(token)), token].set(True)
  rows = Rows(
    cache=_laid(
      jax.tree.map(
        lambda c, h: c.at[:, new.target].set(h, mode="drop"), rows.cache, held
      )
    ),
    length=put(rows.length, new.start + end),
    token=put(rows.token, token),
    count=put(rows.count, jnp.ones_like(end)),
    active=put(rows.active, (token != eos) & (choice.limit > 1)),
    seen=put(rows.seen, seen),
    choice=jax.tree.map(put, rows.choice, choice),
  )
  return rows, token


@functools.partial(jax.jit, donate_argnames="rows", static_argnames="most")
def advance(
  model: LTU, rows: Rows, eos: int, steps: int, hasty: bool, *, most: int
) -> tuple[Rows, jax.Array, jax.Array]:
  """Draws the next tokens of all active rows.

  Args:
    model: The model.
    rows: The rows.
    eos: The end token's id.
    steps: Tokens to draw, at most N.
    hasty: Whether to come back as soon as a row has ended.
    most: N.

  Returns:
    All rows; int32 [N, B] tokens; bool [N, B], which of them were drawn.
  """
  batch, slots = rows.seen.shape[0], rows.cache.k.shape[2]
  active = rows.active

  def go_on(carry):
    step, rows, _, _ = carry
    ended = (active & ~rows.active).any()
    return (step < steps) & rows.active.any() & ~(hasty & ended)

  def body(carry):
    step, rows, tokens, drawn = carry
    hidden, cache = model.llama(
      model.llama.embed(rows.token[:, None]),
      rows.length[:, None],
      jnp.arange(slots) <= rows.length[:, None, None],
      rows.cache,
      jnp.where(rows.active, rows.length, slots)[:, None],
    )
    logits = model.llama.logits(hidden)[:, 0]
    token = _draw(logits, rows.seen, rows.choice, rows.count, rows.active)
    token = jnp.where(rows.active, token, rows.token)
    count = rows.count + rows.active
    tokens = tokens.at[step].set(token)
    drawn = drawn.at[step].set(rows.active)
    rows = rows._replace(
      cache=_laid(cache),
      length=rows.length + rows.active,
      token=token,
      count=count,
      active=rows.active & (token != eos) & (count < rows.choice.limit),
      seen=rows.seen.at[jnp.arange(batch), token].max(rows.active),
    )
    return step + 1, rows, tokens, drawn

  start = (
    jnp.int32(0),
    rows,
    jnp.zeros((most, batch), jnp.int32),
    jnp.zeros((most, batch), bool),
  )
  _, rows, tokens, drawn = jax.lax.while_loop(go_on, body, start)
  return rows, tokens, drawn


@functools.partial(jax.jit, donate_argnames="rows")
def stop(rows: Rows, which: jax.Array) -> Rows:
  """Ends the answers of the rows where bool [B] `which` is set."""
  return rows._replace(active=rows.active & ~which)


def _draw(
  logits: jax.Array,
  seen: jax.Array,
  choice: Choice,
  count: jax.Array,
  active: jax.Array | bool = True,
) -> jax.Array:
  """Chooses each row's next token from float32 logits [B, V]."""
  scores = sampling.penalise(logits, seen, choice.penalty[:, None])
  greedy = choice.temperature == 0
  likely = jnp.argmax(scores, axis=-1).astype(jnp.int32)

  def sample():
    # Numbered by the answer's own steps: the same draw in any batch.
    return sampling.sample(
      jax.vmap(jax.random.fold_in)(choice.key, count),
      scores,
      jnp.where(greedy, 1, choice.temperature)[:, None],
      choice.top_k[:, None],
      choice.top_p[:, None],
    )

  # Sorting a vocabulary is the dearest part of a draw.
  some = (active & ~greedy).any()
  sampled = jax.lax.cond(some, sample, lambda: likely)
  return jnp.where(greedy, likely, sampled)


def _laid(cache: KVCache) -> KVCache:
  """The cache as the mesh cuts it: rows, and heads."""
  axes = (None, "batch", None, "kv_heads", None)
  return jax.tree.map(lambda c: constrain(c, *axes), cache)
