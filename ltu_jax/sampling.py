"""Choosing the next token from its logits: penalty, temperature, top k, top p.

The order is that of the published generation: repetition penalty, temperature,
top k, top p, then a draw. All functions are pure and can be jitted with traced
settings, so that another temperature does not compile again.

Letters: B rows, V vocabulary, T tokens of a prompt.
"""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
  """How answers are drawn; hashable, so it can be a static argument of jit.

  Attributes:
    temperature: Logits are divided by it; 0 takes the most likely token
      (greedy), and top k and top p then have no effect.
    top_p: Keep the fewest most likely tokens that together have at least this
      probability, in (0, 1]; 1 keeps all.
    top_k: Keep this many most likely tokens; 0 keeps all.
    repetition_penalty: Logits of tokens that the row has seen (prompt and
      answer) are divided by it if positive and multiplied by it if negative;
      1 changes nothing.
    max_new_tokens: The longest answer, its end token included.
  """

  temperature: float = 0.1
  top_p: float = 0.95
  top_k: int = 500
  repetition_penalty: float = 1.1
  max_new_tokens: int = 400

  def __post_init__(self):
    """Checks every field.

    Raises:
      ValueError: A field is out of its range; the message names it.
    """
    if not 0 <= self.temperature < float("inf"):
      raise ValueError(
        f"temperature is {self.temperature}; it must be 0 (greedy) or a "
        "positive number."
      )
    if not 0 < self.top_p <= 1:
      raise ValueError(
        f"top_p is {self.top_p}; it must be above 0 and at most 1."
      )
    if self.top_k < 0:
      raise ValueError(f"top_k is {self.top_k}; it must be 0 (all) or more.")
    if not 0 < self.repetition_penalty < float("inf"):
      raise ValueError(
        f"repetition_penalty is {self.repetition_penalty}; it must be a "
        "positive number (1 = none)."
      )
    if self.max_new_tokens < 1:
      raise ValueError(
        f"max_new_tokens is {self.max_new_tokens}; it must be at least 1."
      )

  @property
  def greedy(self) -> bool:
    """Whether the most likely token is taken without a draw."""
    return self.temperature == 0


PUBLISHED = SamplingConfig(
  temperature=0.1,
  top_p=0.95,
  top_k=500,
  repetition_penalty=1.1,
  max_new_tokens=400,
)
"""The settings of the published LTU's batch inference script."""

GREEDY = SamplingConfig(
  temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0
)
"""The most likely token at every step, with no penalty."""


def seen_tokens(
  tokens: jax.Array, mask: jax.Array, vocab_size: int
) -> jax.Array:
  """Marks which tokens occur in each row.

  Args:
    tokens: int32 [B, T] token ids.
    mask: bool [B, T], False at padding, which is not marked.
    vocab_size: V.

  Returns:
    bool [B, V].
  """
  rows = jnp.arange(tokens.shape[0])[:, None]
  seen = jnp.zeros((tokens.shape[0], vocab_size), bool)
  return seen.at[rows, tokens].max(mask)


def penalise(
  logits: jax.Array, seen: jax.Array, penalty: float | jax.Array
) -> jax.Array:
  """Makes tokens that a row has seen less likely, each once.

  Args:
    logits: float32 [B, V].
    seen: bool [B, V], from `seen_tokens`.
    penalty: Scalar or [B, 1]; above 1 discourages repetition.

  Returns:
    float32 [B, V].
  """
  lowered = jnp.where(logits > 0, logits / penalty, logits * penalty)
  return jnp.where(seen, lowered, logits)


def warp(
  logits: jax.Array,
  temperature: float | jax.Array,
  top_k: int | jax.Array,
  top_p: float | jax.Array,
) -> jax.Array:
  """Applies temperature, then top k, then top p.

  Top p runs over what top k has left, normalised again. Tokens whose logit
  equals the last kept one are kept too, so the result does not depend on how a
  sort breaks ties.

  Args:
    logits: float32 [B, V].
    temperature: Positive scalar or [B, 1].
    top_k: Scalar or [B, 1]; 0 keeps all.
    top_p: Scalar or [B, 1] in (0, 1]; 1 keeps all.

  Returns:
    float32 [B, V]; -inf where a token is removed.
  """
  vocab_size = logits.shape[-1]
  logits = logits / temperature
  # One sort serves both filters, and k need not be static as in lax.top_k.
  ascending = jnp.sort(logits, axis=-1)
  rank = jnp.arange(vocab_size)[None, :]
  top_k = jnp.where(jnp.asarray(top_k) <= 0, vocab_size, top_k)
  first = jnp.maximum(vocab_size - top_k, 0)
  kth = jnp.max(jnp.where(rank <= first, ascending, -jnp.inf), -1)[:, None]
  by_k = jnp.where(ascending < kth, -jnp.inf, ascending)
  # Summed from the least likely up, as the original does: these sums are
  # small, so float32 loses less there.
  below = jnp.cumsum(jax.nn.softmax(by_k, axis=-1), axis=-1)
  top_p = jnp.asarray(top_p, jnp.float32)
  dropped = (below <= 1 - top_p) & (top_p < 1) & (rank < vocab_size - 1)
  kept = jnp.where(dropped | (ascending < kth), jnp.inf, ascending)
  smallest = jnp.min(kept, axis=-1, keepdims=True)
  return jnp.where(logits < smallest, -jnp.inf, logits)


def sample(
  keys: jax.Array,
  scores: jax.Array,
  temperature: float | jax.Array,
  top_k: int | jax.Array,
  top_p: float | jax.Array,
) -> jax.Array:
  """Draws one token a row.

  Args:
    keys: One JAX key a row, [B]; a row's draw depends on its own key alone,
      not on the batch it is in.
    scores: float32 [B, V], the logits after `penalise`.
    temperature: Positive scalar or [B, 1].
    top_k: Scalar or [B, 1]; 0 keeps all.
    top_p: Scalar or [B, 1] in (0, 1]; 1 keeps all.

  Returns:
    int32 [B].
  """
  warped = warp(scores, temperature, top_k, top_p)
  return jax.vmap(jax.random.categorical)(keys, warped).astype(jnp.int32)
