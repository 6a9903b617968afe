"""What the engine is asked and what it says."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from ltu_jax import sampling
from ltu_jax.audio.fbank import CLIP_SAMPLES
from ltu_jax.models.ltu import LtuConfig
from ltu_jax.sampling import SamplingConfig

_SEEDS = 2**32
"""JAX keys are made of 32-bit seeds."""


class RequestError(ValueError):
  """A request that cannot be answered; the message says what to change."""


@dataclasses.dataclass(frozen=True)
class Request:
  """A prompt to be answered.

  Attributes:
    prompt: Token ids, the begin token included; at least one.
    clip: int16 [samples] at 16 kHz, of which CLIP_SAMPLES are heard; None
      without.
    config: How tokens are chosen and how many.
    seed: Of the draws; the same seed gives the same answer in any batch.
    sample: Number among several answers to one prompt with one seed.
  """

  prompt: Sequence[int]
  clip: np.ndarray | None = None
  config: SamplingConfig = sampling.PUBLISHED
  seed: int = 0
  sample: int = 0


@dataclasses.dataclass(frozen=True)
class Drawn:
  """New tokens of one answer.

  Attributes:
    ticket: Whose, as `submit` returned it.
    tokens: The new ones; the end token is among them.
    ended: "" while it goes on; "stop" after the end token, "length" at the
      limit, "cancelled" after `cancel`.
    reused: Slots of the cache (audio and text) that did not have to be read.
  """

  ticket: int
  tokens: tuple[int, ...]
  ended: str = ""
  reused: int = 0


@dataclasses.dataclass(eq=False)
class Task:
  """A request on its way.

  Attributes:
    ticket: Its number.
    request: What is asked.
    limit: The most tokens of its answer.
    tokens: Those drawn so far.
    reused: As `Drawn.reused`.
    ended: As `Drawn.ended`.
  """

  ticket: int
  request: Request
  limit: int
  tokens: list[int] = dataclasses.field(default_factory=list)
  reused: int = 0
  ended: str = ""

  @functools.cached_property
  def audio(self) -> bytes | None:
    """Identity of what is heard of the clip; None without one."""
    clip = self.request.clip
    if clip is None:
      return None
    return hashlib.sha256(clip[:CLIP_SAMPLES].tobytes()).digest()


def check(request: Request, cfg: LtuConfig, context: int) -> int:
  """Checks a request and returns the most tokens that its answer may have.

  Args:
    request: The request.
    cfg: The model's sizes.
    context: Slots for audio tokens, prompt and answer.

  Raises:
    RequestError: See `Engine.submit`.
  """
  prompt, vocab = request.prompt, cfg.llama.vocab
  if not len(prompt):
    raise RequestError("the prompt is empty; it needs at least one token.")
  if min(prompt) < 0 or max(prompt) >= vocab:
    raise RequestError(f"the prompt has a token outside 0..{vocab - 1}.")
  if not 0 <= request.seed < _SEEDS:
    raise RequestError(f"seed is {request.seed}; it must be 0 to {_SEEDS - 1}.")
  clip = request.clip
  if clip is not None and not len(clip):
    raise RequestError("the clip has no samples; leave it out for none.")
  taken = len(prompt) + (0 if clip is None else cfg.num_audio_tokens)
  if taken >= context:
    raise RequestError(
      f"the question, with the sound and what was said before, takes {taken}"
      f" tokens, and with its answer there is room for {context}; ask something"
      " shorter, begin a new dialogue, or raise the context."
    )
  return min(request.config.max_new_tokens, context - taken)
