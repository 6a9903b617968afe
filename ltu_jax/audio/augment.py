"""Changes of filter banks that keep what is heard, for small training sets.

The published training has none; both are off by default.

Axis letters: B rows, T frames, M mel bins, K knots of the filter's curve.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from ltu_jax.audio.fbank import NORM_STD
from ltu_jax.models import sizes

_KNOTS = 6
_NEPER_PER_DB = math.log(10) / 10  # the filter banks are logarithms of power


@dataclasses.dataclass(frozen=True)
class Augment:
  """A random room and a random pitch for each clip.

  Attributes:
    filter_db: standard deviation, in dB, of a smooth curve over frequency that
      is added to all frames of a clip, as another room or microphone would
      (FilterAugment, Nam et al., ICASSP 2022); 0 for none.
    mel_shift: clips are moved up or down by at most so many mel bins, as
      another pitch would; 0 for none.
  """

  filter_db: float = 0.0
  mel_shift: int = 0

  def __post_init__(self):
    """Checks the fields; raises ValueError for those of another type."""
    sizes.check(self)

  def __call__(self, key: jax.Array, fbank: jax.Array) -> jax.Array:
    """Changes normalised filter banks [B, T, M], each row in its own way."""
    filter_key, shift_key = jax.random.split(key)
    rows, _, mels = fbank.shape
    if self.mel_shift:
      by = jax.random.randint(
        shift_key, (rows, 1), -self.mel_shift, self.mel_shift + 1
      )
      source = jnp.clip(jnp.arange(mels) + by, 0, mels - 1)
      fbank = jnp.take_along_axis(fbank, source[:, None, :], axis=2)
    if self.filter_db:
      knots = jax.random.normal(filter_key, (rows, _KNOTS))
      curve = knots @ _interpolation(mels)
      scale = self.filter_db * _NEPER_PER_DB / NORM_STD
      fbank = fbank + scale * curve[:, None, :]
    return fbank


def _interpolation(mels: int) -> jax.Array:
  """[K, M]: linear interpolation from the knots to the mel bins."""
  at = jnp.linspace(0, _KNOTS - 1, mels)
  return jnp.maximum(0, 1 - jnp.abs(at - jnp.arange(_KNOTS)[:, None]))
