"""Answering: batches of prompts, with or without sound, to lists of tokens.

Rows may have prompts of unequal length and may lack audio; each row's answer is
the one that it would get alone. Prompts, answers and the number of rows are
padded to a few sizes, so that a few compilations serve all calls.

Letters: B rows, V vocabulary, n tokens of an answer.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
import numpy as np

from ltu_jax import beam, processes, sampling
from ltu_jax.audio import fbank as fbank_lib
from ltu_jax.decoding import Settings, decode
from ltu_jax.models.ltu import LTU
from ltu_jax.padding import bucket, pad
from ltu_jax.sampling import SamplingConfig


@dataclasses.dataclass(frozen=True)
class Trace:
  """One answer with what it was drawn from.

  Attributes:
    tokens: The answer, its end token included if it came; n of them.
    logits: float32 [n, V], the model's, before each token.
    scores: float32 [n, V], the same after the repetition penalty.
  """

  tokens: list[int]
  logits: np.ndarray
  scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class Beam:
  """One answer of a beam search.

  Attributes:
    tokens: The answer, its end token included if it came.
    score: The sum of the tokens' log-probabilities after the repetition
      penalty, divided by their number to the power of the length penalty.
  """

  tokens: list[int]
  score: float


def generate(
  model: LTU,
  prompts: Sequence[Sequence[int]],
  *,
  pcm: np.ndarray | None = None,
  num_samples: np.ndarray | None = None,
  fbank: np.ndarray | None = None,
  has_audio: np.ndarray | None = None,
  config: SamplingConfig = sampling.PUBLISHED,
  eos_id: int = 2,
  key: jax.Array | None = None,
) -> list[list[int]]:
  """Answers a batch of prompts.

  Args:
    model: The model, on any mesh.
    prompts: B lists of token ids, none empty.
    pcm: int16 [B, CLIP_SAMPLES], as `batch_clips` makes it; None for no audio
      at all, or with `fbank`.
    num_samples: int32 [B], valid samples of `pcm`; 0 = the row has no audio.
    fbank: float32 [B, 1024, 128] normalised filter banks in place of `pcm`.
    has_audio: bool [B] with `fbank`: False hides a row's; None shows all.
    config: How tokens are chosen and how many.
    eos_id: The token that ends an answer.
    key: JAX key that is split over the rows, or one key a row [B]. Needed
      unless `config.greedy`.

  Returns:
    B lists of new token ids; each ends with `eos_id` if that came in time.

  Raises:
    ValueError: Unfit arguments; the message names them.
  """
  answers, counts, _, _ = _run(
    model,
    prompts,
    (pcm, num_samples, fbank, has_audio),
    config,
    eos_id,
    key,
    trace=False,
  )
  return [a[:n].tolist() for a, n in zip(answers, counts, strict=True)]


def trace(
  model: LTU,
  prompts: Sequence[Sequence[int]],
  *,
  pcm: np.ndarray | None = None,
  num_samples: np.ndarray | None = None,
  fbank: np.ndarray | None = None,
  has_audio: np.ndarray | None = None,
  config: SamplingConfig = sampling.PUBLISHED,
  eos_id: int = 2,
  key: jax.Array | None = None,
) -> list[Trace]:
  """Does what `generate` does and returns every step's logits as well."""
  answers, counts, logits, scores = _run(
    model,
    prompts,
    (pcm, num_samples, fbank, has_audio),
    config,
    eos_id,
    key,
    trace=True,
  )
  return [
    Trace(answers[b, :n].tolist(), logits[:n, b], scores[:n, b])
    for b, n in enumerate(counts)
  ]


def beam_search(
  model: LTU,
  prompts: Sequence[Sequence[int]],
  *,
  pcm: np.ndarray | None = None,
  num_samples: np.ndarray | None = None,
  fbank: np.ndarray | None = None,
  has_audio: np.ndarray | None = None,
  beams: int = 4,
  num_return: int = 1,
  length_penalty: float = 1.0,
  early_stopping: bool | str = False,
  config: SamplingConfig = sampling.GREEDY,
  eos_id: int = 2,
) -> list[list[Beam]]:
  """Searches for likely answers, as transformers 5.23 with `num_beams`.

  Args:
    model: As `generate`, and so the next five.
    prompts: Same.
    pcm: Same.
    num_samples: Same.
    fbank: Same.
    has_audio: Same.
    beams: How many answers are kept open; 1 is greedy decoding. The cache
      takes so many times the memory.
    num_return: How many answers to return for a prompt, at most `beams`.
    length_penalty: See Beam.score; above 0 favours long answers.
    early_stopping: When a prompt's search stops, at the latest with the longest
      answer. True: as soon as `beams` answers have ended. False: when, besides,
      the likeliest open one scores no better, at the length it has, than the
      worst of them. "never": the same, but where `length_penalty` is above 0
      it is scored as if it grew to the longest answer at no cost.
    config: The repetition penalty and the longest answer; must be greedy.
    eos_id: The token that ends an answer.

  Returns:
    For each of the B prompts, `num_return` answers, best first.

  Raises:
    ValueError: Unfit arguments; the message names them.
  """
  _check_search(beams, num_return, early_stopping, model.cfg.llama.vocab)
  _check_scores(config, length_penalty)
  if not prompts:
    return []
  audio = (pcm, num_samples, fbank, has_audio)
  ended = beam.search(
    model,
    pad(model, prompts, audio, config, key=None),
    beam.Settings(
      penalty=config.repetition_penalty,
      length_penalty=float(length_penalty),
      stop_when_full=early_stopping is True,
      hope_to_limit=early_stopping == "never" and length_penalty > 0,
      limit=config.max_new_tokens,
      eos=eos_id,
    ),
    slots=bucket(config.max_new_tokens),
    beams=beams,
  )
  scores, counts, tokens = jax.tree.map(processes.on_host, ended)
  return [
    [
      Beam(tokens[b, w, : counts[b, w]].tolist(), float(scores[b, w]))
      for w in range(num_return)
    ]
    for b in range(len(prompts))
  ]


def batch_clips(
  clips: Sequence[np.ndarray | None],
) -> tuple[np.ndarray, np.ndarray]:
  """Cuts or zero-pads clips to the length that the encoder hears.

  Args:
    clips: B arrays int16 [samples] at 16 kHz; None where there is no audio.

  Returns:
    pcm int16 [B, CLIP_SAMPLES] and num_samples int32 [B].
  """
  pcm = np.zeros((len(clips), fbank_lib.CLIP_SAMPLES), np.int16)
  num_samples = np.zeros(len(clips), np.int32)
  for row, clip in enumerate(clips):
    if clip is not None:
      clip = clip[: fbank_lib.CLIP_SAMPLES]
      pcm[row, : len(clip)] = clip
      num_samples[row] = len(clip)
  return pcm, num_samples


def _run(model, prompts, audio, config, eos_id, key, *, trace):
  """Pads, decodes, and takes the padding off; see `generate`."""
  rows = len(prompts)
  if not rows:
    return [], [], [], []
  inputs = pad(model, prompts, audio, config, key)
  settings = Settings(
    # The greedy loop never looks at it; 1 keeps the division defined.
    temperature=config.temperature or 1.0,
    top_k=config.top_k,
    top_p=config.top_p,
    penalty=config.repetition_penalty,
    limit=config.max_new_tokens,
    eos=eos_id,
  )
  loop = decode(
    model,
    inputs,
    settings,
    slots=bucket(config.max_new_tokens),
    greedy=config.greedy,
    trace=trace,
  )
  answers, counts, logits, scores = jax.tree.map(
    processes.on_host, (loop.answers, loop.counts, loop.logits, loop.scores)
  )
  return answers[:rows], counts[:rows], logits, scores


def _check_search(
  beams: int, num_return: int, early_stopping: bool | str, vocab: int
) -> None:
  """Raises unless a search can keep and return so many beams."""
  # Next to the end token, the first step needs a token for every beam.
  if not 1 <= beams < vocab:
    raise ValueError(
      f"beams is {beams}; it must be at least 1 and below the vocabulary's "
      f"{vocab} tokens."
    )
  if not 1 <= num_return <= beams:
    raise ValueError(
      f"num_return is {num_return}; it must be at least 1 and at most beams, "
      f"which is {beams}."
    )
  if not isinstance(early_stopping, bool) and early_stopping != "never":
    raise ValueError(
      f"early_stopping is {early_stopping!r}; it must be True, False or "
      '"never".'
    )


def _check_scores(config: SamplingConfig, length_penalty: float) -> None:
  """Raises unless scores are defined, and are so in float32."""
  if not config.greedy:
    raise ValueError(
      f"temperature is {config.temperature}; a beam search draws nothing, so "
      "it must be 0."
    )
  # float32 ends at 1e38; this leaves room for the log-probability.
  digits = abs(length_penalty) * math.log10(config.max_new_tokens)
  if not digits <= 30:
    raise ValueError(
      f"length_penalty is {length_penalty}; the longest answer's length, "
      f"{config.max_new_tokens}, to this power must be from 1e-30 to 1e30."
    )
