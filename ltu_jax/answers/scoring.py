"""The compiled part of scoring: prompts read once, trees of answers after them.

Slots of a row's key/value cache:

  [A audio][P prompt, right-padded][S tree of answers]

Every tree is written over the one before. As in decoding.py, positions count
only what is there, and slots that a row does not use are masked.

Letters: R rows, P prompt slots, S tree slots, A audio tokens, V vocabulary,
D width, Z = A + P + S slots.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ltu_jax.models.llama import KVCache, init_cache
from ltu_jax.models.ltu import LTU, attention_mask
from ltu_jax.sharding import constrain


class Prompts(NamedTuple):
  """What stands before the answers.

  Attributes:
    tokens: int32 [R, P], right-padded.
    length: int32 [R], at least 1.
    has_audio: bool [R].
  """

  tokens: jax.Array
  length: jax.Array
  has_audio: jax.Array


class Branches(NamedTuple):
  """A tree for each row, all [R, S]; see branches.Tree."""

  tokens: jax.Array
  parent: jax.Array
  depth: jax.Array
  end: jax.Array


@functools.partial(jax.jit, static_argnames="slots")
def read(
  model: LTU, prompts: Prompts, audio: jax.Array | None, *, slots: int
) -> tuple[KVCache, jax.Array]:
  """Reads the prompts.

  Args:
    model: The model.
    prompts: The prompts.
    audio: [R, A, D] audio tokens; None if no row has any.
    slots: S.

  Returns:
    The cache of Z slots, and [R, 1, D] after each prompt's last token.
  """
  rows, prompt_slots = prompts.tokens.shape
  x = model.llama.embed(prompts.tokens)
  num_audio = 0
  if audio is not None:
    num_audio = audio.shape[1]
    x = jnp.concatenate([audio, x], axis=1)
  first = jnp.where(prompts.has_audio, num_audio, 0)[:, None]
  heard = jnp.broadcast_to(jnp.arange(num_audio), (rows, num_audio))
  positions = jnp.concatenate([heard, first + jnp.arange(prompt_slots)], axis=1)
  mask = attention_mask(
    prompts.has_audio, _real(prompts).astype(jnp.int32), num_audio
  )
  cache = init_cache(model.cfg.llama, rows, num_audio + prompt_slots + slots)
  hidden, cache = model.llama(
    x, positions, jnp.pad(mask, ((0, 0), (0, 0), (0, slots))), _laid(cache)
  )
  last = (num_audio + prompts.length - 1)[:, None, None]
  return _laid(cache), jnp.take_along_axis(hidden, last, axis=1)


@functools.partial(jax.jit, donate_argnames="cache")
def score(
  model: LTU,
  cache: KVCache,
  last: jax.Array,
  prompts: Prompts,
  branches: Branches,
  eos: int,
) -> tuple[KVCache, jax.Array, jax.Array]:
  """Log-probabilities of every token of the trees.

  Args:
    model: The model.
    cache: From `read`, or from `score`.
    last: From `read`.
    prompts: The prompts.
    branches: The trees.
    eos: The end token's id.

  Returns:
    The cache; float32 [R, S], of each slot's token; float32 [R, 1 + S], of the
    end token after the prompt and after each slot.
  """
  slots = branches.tokens.shape[1]
  begin = cache.k.shape[2] - slots
  num_audio = begin - prompts.tokens.shape[1]
  first = prompts.length + jnp.where(prompts.has_audio, num_audio, 0)
  hidden, cache = model.llama(
    model.llama.embed(branches.tokens),
    first[:, None] + branches.depth,
    _mask(prompts, branches, num_audio),
    cache,
    begin,
  )
  # Place 0 is the prompt's end.
  logits = model.llama.logits(jnp.concatenate([last, hidden], axis=1))
  whole = jax.nn.logsumexp(logits, axis=-1)
  parent = branches.parent
  before = jnp.take_along_axis(logits, parent[..., None], axis=1)
  tokens = _at(before, branches.tokens) - jnp.take_along_axis(whole, parent, 1)
  return _laid(cache), tokens, _at(logits, eos) - whole


def _at(logits: jax.Array, token: jax.Array | int) -> jax.Array:
  """The logit of one token of each [..., V]."""
  # A sum, as a mesh may cut the vocabulary: an index would gather all of it.
  chosen = jnp.arange(logits.shape[-1]) == jnp.expand_dims(token, -1)
  return jnp.sum(jnp.where(chosen, logits, 0), axis=-1)


def _mask(prompts: Prompts, branches: Branches, num_audio: int) -> jax.Array:
  """A token sees its clip, its prompt and its own branch: bool [R, S, Z]."""
  rows, slots = branches.tokens.shape
  heard = jnp.broadcast_to(prompts.has_audio[:, None], (rows, num_audio))
  before = jnp.concatenate([heard, _real(prompts)], axis=1)[:, None]
  slot = jnp.arange(slots)
  # From a key on, up to its end, all come after it.
  own = (slot <= slot[:, None]) & (slot[:, None] <= branches.end[:, None])
  before = jnp.broadcast_to(before, (rows, slots, before.shape[-1]))
  return jnp.concatenate([before, own], axis=2)


def _real(prompts: Prompts) -> jax.Array:
  """Which prompt slots are no padding: bool [R, P]."""
  return jnp.arange(prompts.tokens.shape[1]) < prompts.length[:, None]


def _laid(cache: KVCache) -> KVCache:
  """The cache as the mesh cuts it: rows, and heads."""
  axes = (None, "batch", None, "kv_heads", None)
  return jax.tree.map(lambda c: constrain(c, *axes), cache)
