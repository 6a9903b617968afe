"""What goes into generation: arguments checked, and padded to a few sizes.

Letters: B rows.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ltu_jax.decoding import Inputs
from ltu_jax.models.ltu import LTU
from ltu_jax.sampling import SamplingConfig
from ltu_jax.sharding import RULES

_SMALLEST_BUCKET = 16


def pad(
  model: LTU,
  prompts: Sequence[Sequence[int]],
  audio: tuple[np.ndarray | None, ...],
  config: SamplingConfig,
  key: jax.Array | None,
) -> Inputs:
  """Checks the arguments of `generate` and rounds their sizes up.

  Args:
    model: The model.
    prompts: At least one list of token ids.
    audio: pcm, num_samples, fbank and has_audio, as `generate` takes them.
    config: How tokens are chosen.
    key: As `generate` takes it.

  Returns:
    The padded batch; rows of length 0 fill it.

  Raises:
    ValueError: Unfit arguments; the message names them.
  """
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
  """The next power of two, at least 16: what prompts and answers take up."""
  return max(_SMALLEST_BUCKET, 1 << (size - 1).bit_length())


def row_parts() -> int:
  """How many parts the mesh in use cuts the rows of a batch into."""
  mesh = jax.sharding.get_abstract_mesh()
  return 1 if mesh.empty else math.prod(mesh.shape[a] for a in RULES["batch"])


def row_bucket(rows: int) -> int:
  """The next power of two that the mesh in use can cut its rows into."""
  rows, parts = 1 << (rows - 1).bit_length(), row_parts()
  return -(-rows // parts) * parts
