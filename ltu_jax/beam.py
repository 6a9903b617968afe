"""The compiled part of beam search: prefill and one loop, with a cache.

A row keeps W open beams, the likeliest unended answers so far, and the W best
ended ones. Each step extends the open beams by every token. Which of them end,
how scores are normalised and when a row stops is transformers' `generate` with
`num_beams`.

Prompts are read once; the cache then has W copies of a row, which differ in
their answer slots alone (decoding.py has the slots).

Letters: as decoding.py; W beams.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ltu_jax import sampling
from ltu_jax.decoding import Inputs, prefill, read_token
from ltu_jax.models.llama import KVCache
from ltu_jax.models.ltu import LTU


class Settings(NamedTuple):
  """What may change without another compilation; scalars.

  Attributes:
    penalty: Repetition penalty, see SamplingConfig.
    length_penalty: Power of the length that an answer's log-probability is
      divided by.
    stop_when_full: A row stops as soon as W answers have ended.
    hope_to_limit: The best open beam is judged as if it grew to `limit` at no
      cost, not at the length it has.
    limit: The most new tokens, 1 to N.
    eos: The end token's id.
  """

  penalty: float
  length_penalty: float
  stop_when_full: bool
  hope_to_limit: bool
  limit: int
  eos: int


class Ended(NamedTuple):
  """A row's best ended answers, best first.

  Attributes:
    scores: float32 [B, W]; -inf where there is none yet.
    counts: int32 [B, W], tokens of each, the end token included.
    tokens: int32 [B, W, N].
  """

  scores: jax.Array
  counts: jax.Array
  tokens: jax.Array


class Loop(NamedTuple):
  """The search's state.

  Attributes:
    step: int32 scalar, tokens of the open beams.
    done: bool [B], rows whose answers are final.
    scores: float32 [B, W], log-probabilities of the open beams, best first;
      -inf where there is no beam.
    tokens: int32 [B, W, N], theirs.
    seen: bool [B, W, V], tokens of prompt and beam.
    cache: Keys and values of B * W rows, Z slots.
    ended: Ended answers.
  """

  step: jax.Array
  done: jax.Array
  scores: jax.Array
  tokens: jax.Array
  seen: jax.Array
  cache: KVCache
  ended: Ended


@functools.partial(jax.jit, static_argnames=("slots", "beams"))
def search(
  model: LTU, inputs: Inputs, settings: Settings, *, slots: int, beams: int
) -> Ended:
  """Reads the prompts, then extends the beams until all rows are done.

  Args:
    model: The model.
    inputs: The padded batch; its keys are not used.
    settings: Traced settings.
    slots: N.
    beams: W, below V.

  Returns:
    W answers of every row; of rows of length 0, none.
  """
  logits, cache, usable, first = prefill(model, inputs, slots)
  copies = functools.partial(jnp.repeat, repeats=beams)
  usable, first = copies(usable, axis=0), copies(first, axis=0)
  cache = jax.tree.map(lambda x: copies(x, axis=1), cache)
  loop = _start(inputs, cache, slots, beams, model.cfg.llama.vocab)

  def advance(loop: Loop) -> Loop:
    token = loop.tokens[:, :, loop.step - 1].reshape(-1)
    logits, cache = read_token(
      model, token, loop.step, loop.cache, usable, first, slots
    )
    return _extend(loop._replace(cache=cache), logits, settings)

  loop = jax.lax.while_loop(
    lambda loop: (loop.step < settings.limit) & ~loop.done.all(),
    advance,
    _extend(loop, copies(logits, axis=0), settings),
  )
  return loop.ended


def _start(
  inputs: Inputs, cache: KVCache, slots: int, beams: int, vocab: int
) -> Loop:
  """The state before the first token: one beam a row, and that is empty."""
  batch, prompt_slots = inputs.tokens.shape
  real = jnp.arange(prompt_slots) < inputs.lengths[:, None]
  seen = sampling.seen_tokens(inputs.tokens, real, vocab)
  none = jnp.full((batch, beams), -jnp.inf)
  tokens = jnp.zeros((batch, beams, slots), jnp.int32)
  return Loop(
    step=jnp.int32(0),
    done=inputs.lengths == 0,
    scores=none.at[:, 0].set(0),
    tokens=tokens,
    seen=jnp.repeat(seen[:, None], beams, axis=1),
    cache=cache,
    ended=Ended(none, jnp.zeros((batch, beams), jnp.int32), tokens),
  )


def _extend(loop: Loop, logits: jax.Array, settings: Settings) -> Loop:
  """Adds a token to every beam, from float32 logits [B * W, V]."""
  batch, beams, slots = loop.tokens.shape
  logits = logits.reshape(batch, beams, -1)
  vocab = logits.shape[-1]
  log_probs = _log_probs(logits, loop.seen, settings.penalty)
  scores = (loop.scores[..., None] + log_probs).reshape(batch, -1)
  # One end token a beam: of twice W, at least W go on.
  scores, index = jax.lax.top_k(scores, 2 * beams)
  parent, token = index // vocab, index % vocab
  tokens = _pick(loop.tokens, parent).at[:, :, loop.step].set(token)
  step = loop.step + 1
  ends = (token == settings.eos) | (step >= settings.limit)
  ended = _end(loop, step, scores, tokens, ends, settings)
  scores, kept = jax.lax.top_k(jnp.where(ends, -jnp.inf, scores), beams)
  parent, token = _pick(parent, kept), _pick(token, kept)
  rows, columns = jnp.indices((batch, beams))
  # What the likeliest open beam may reach is a guess, as more tokens change
  # the norm as well. With fewer than W answers the worst is -inf.
  length = jnp.where(settings.hope_to_limit, settings.limit, step)
  best = scores[:, 0] / _norm(length, settings)
  worst = ended.scores[:, -1]
  # One beam is greedy decoding, which ends at the first end token.
  stop_when_full = settings.stop_when_full | (beams == 1)
  return Loop(
    step=step,
    done=loop.done | (best <= worst) | (stop_when_full & (worst > -jnp.inf)),
    scores=scores,
    tokens=_pick(tokens, kept),
    seen=_pick(loop.seen, parent).at[rows, columns, token].set(True),
    cache=_follow(loop.cache, parent, slots),
    ended=ended,
  )


def _log_probs(
  logits: jax.Array, seen: jax.Array, penalty: jax.Array
) -> jax.Array:
  """Penalised log-probabilities [B, W, V].

  As transformers: beams are penalised in their log-probabilities, which are
  then none of a distribution; one beam, greedy decoding, in its logits.
  """
  if logits.shape[1] == 1:
    return jax.nn.log_softmax(sampling.penalise(logits, seen, penalty))
  return sampling.penalise(jax.nn.log_softmax(logits), seen, penalty)


def _end(
  loop: Loop,
  step: jax.Array,
  scores: jax.Array,
  tokens: jax.Array,
  ends: jax.Array,
  settings: Settings,
) -> Ended:
  """Keeps the best W of the ended answers and those that end now.

  An answer may end only among the row's W likeliest continuations.

  Args:
    loop: The state before this step.
    step: Tokens of the continuations.
    scores: float32 [B, 2 W], their log-probabilities, best first.
    tokens: int32 [B, 2 W, N].
    ends: bool [B, 2 W].
    settings: Traced settings.

  Returns:
    The new W; the old ones in rows that are done.
  """
  beams = loop.tokens.shape[1]
  counted = ends[:, :beams] & ~loop.done[:, None]
  # -inf, not transformers' -1e9, which a low length penalty can go below.
  normed = jnp.where(
    counted, scores[:, :beams] / _norm(step, settings), -jnp.inf
  )
  new = Ended(normed, jnp.full_like(loop.ended.counts, step), tokens[:, :beams])
  both = jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), loop.ended, new)
  _, best = jax.lax.top_k(both.scores, beams)
  return jax.tree.map(lambda x: _pick(x, best), both)


def _norm(length: jax.Array, settings: Settings) -> jax.Array:
  """What the log-probability of so many tokens is divided by."""
  return length.astype(jnp.float32) ** settings.length_penalty


def _pick(x: jax.Array, index: jax.Array) -> jax.Array:
  """Takes [B, W, ...] by int32 [B, C] of each row's W: [B, C, ...]."""
  return jax.vmap(lambda row, i: row[i])(x, index)


def _follow(cache: KVCache, parent: jax.Array, slots: int) -> KVCache:
  """Moves the answer slots of each beam's parent [B, W] to the beam."""

  def move(x: jax.Array) -> jax.Array:
    answer = x[:, :, -slots:]
    by_row = answer.reshape(x.shape[0], *parent.shape, *answer.shape[2:])
    moved = jax.vmap(_pick, (0, None))(by_row, parent)
    return x.at[:, :, -slots:].set(moved.reshape(answer.shape))

  return jax.tree.map(move, cache)
