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
import jax.numpy as jnp
import numpy as np

from ltu_jax import processes, sampling
from ltu_jax.audio import fbank as fbank_lib
from ltu_jax.decoding import Inputs, Settings, decode
from ltu_jax.models.ltu import LTU
from ltu_jax.sampling import SamplingConfig
from ltu_jax.sharding import RULES

_SMALLEST_BUCKET = 16


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
  inputs = _pad(model, prompts, audio, config, key)
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


def _pad(model, prompts, audio, config, key) -> Inputs:
  """Checks the arguments of `generate` and rounds their sizes up."""
  rows = len(prompts)
  _check_prompts(prompts, model.cfg.llama.vocab)
  pcm, fbank, num_samples = _check_audio(rows, *audio)
  tokens = np.zeros((rows, bucket(max(map(len, prompts)))), np.int32)
  for row, prompt in enumerate(prompts):
    tokens[row, : len(prompt)] = prompt
  lengths = np.array([len(prompt) for prompt in prompts], np.int32)
  keys = _row_keys(rows, config, key)
  inputs = Inputs(pcm, fbank, num_samples, tokens, lengths, keys)
  extra = row_bucket(rows) - rows

  def fill(x):
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
      return jnp.concatenate([x, jnp.broadcast_to(x[:1], (extra,))])
    return np.pad(x, [(0, extra)] + [(0, 0)] * (x.ndim - 1))

  return jax.tree.map(fill, inputs) if extra else inputs


def _check_prompts(prompts: Sequence[Sequence[int]], vocab: int) -> None:
  """Raises unless every prompt has tokens of the vocabulary."""
  for row, prompt in enumerate(prompts):
    if not len(prompt):
      raise ValueError(f"prompt {row} is empty; it needs at least one token.")
    if min(prompt) < 0 or max(prompt) >= vocab:
      raise ValueError(f"prompt {row} has a token outside 0..{vocab - 1}.")


def _check_audio(rows, pcm, num_samples, fbank, has_audio):
  """Returns pcm, fbank, num_samples; the first two None if nobody has audio."""
  if pcm is not None and fbank is not None:
    raise ValueError("give pcm or fbank, not both.")
  if (pcm is None) != (num_samples is None):
    raise ValueError("pcm and num_samples go together; one is missing.")
  if fbank is not None:
    shown = np.ones(rows, bool) if has_audio is None else has_audio
    num_samples = np.asarray(shown, np.int32)
  given = {"pcm": pcm, "fbank": fbank, "num_samples": num_samples}
  for name, array in given.items():
    if array is not None and len(array) != rows:
      raise ValueError(f"{name} has {len(array)} rows, prompts has {rows}.")
  if num_samples is None or not np.any(num_samples):
    return None, None, np.zeros(rows, np.int32)
  return pcm, fbank, np.asarray(num_samples, np.int32)


def _row_keys(
  rows: int, config: SamplingConfig, key: jax.Array | None
) -> jax.Array:
  """One key a row; greedy decoding gets some that it does not use."""
  if key is None:
    if not config.greedy:
      raise ValueError("sampling needs a key, such as jax.random.key(0).")
    key = jax.random.key(0)
  keys = key if key.ndim else jax.random.split(key, rows)
  if len(keys) != rows:
    raise ValueError(f"key has {len(keys)} rows, prompts has {rows}.")
  return keys


def bucket(size: int) -> int:
  """What so many tokens are padded to: a power of two, at least 16."""
  return max(_SMALLEST_BUCKET, 1 << (size - 1).bit_length())


def row_parts() -> int:
  """How many parts the mesh in use cuts the rows of a batch into."""
  mesh = jax.sharding.get_abstract_mesh()
  return 1 if mesh.empty else math.prod(mesh.shape[a] for a in RULES["batch"])


def row_bucket(rows: int) -> int:
  """The next power of two that the mesh in use can cut its rows into."""
  rows, parts = 1 << (rows - 1).bit_length(), row_parts()
  return -(-rows // parts) * parts
