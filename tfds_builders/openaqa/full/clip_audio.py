"""From a user's sound file to the FLAC of a record, with a rule for each case.

A clip that cannot be heard as it should is left out with its questions: nothing
is ever put in its place.
"""

from collections.abc import Callable

import numpy as np
from etils import epath

from ltu_jax.audio import decode
from ltu_jax.audio.decode import (
  CLIP_SAMPLES,
  MIN_SAMPLES,
  SAMPLE_RATE,
  AudioError,
  Sound,
)
from tfds_builders.openaqa import flac

LEFT_OUT = {
  "missing": "left out: no sound file has the name of the clip",
  "unopened": "left out: the file is gone or may not be read",
  "empty": "left out: the file has no bytes",
  "damaged": "left out: the file is damaged or not audio",
  "cut_short": "left out: the file holds less sound than its header claims",
  "not_finite": "left out: there are NaN or infinite samples",
  "no_samples": "left out: the file holds no sound",
  "too_short": f"left out: less than a frame of {MIN_SAMPLES} samples (25 ms)",
  "too_long": "left out: too long to be read at once",
  "constant": "left out: every sample has one value, nothing is to be heard",
}
"""Kinds of clips that are not used; all but the first are `AudioError.kind`."""

CHANGED = {
  "ambiguous": "used: of several files of its name the first was taken",
  "start_unchecked": "used: only one of question and file says where in the"
  " video the clip starts",
  "resampled": f"used: resampled to {SAMPLE_RATE} Hz",
  "first_channel": "used: of several channels the first",
  "cut": f"used: the first {CLIP_SAMPLES / SAMPLE_RATE} s, all the model hears",
}
"""Kinds of clips that are used, but not as they are."""

_MOST_BYTES = 64 << 20
"""Of a file in a bucket, which is read whole: a minute at the highest rates."""

Reader = Callable[..., Sound]
"""As `ltu_jax.audio.decode.read`."""


def reader(name: str) -> Reader:
  """Returns the function that decodes, by name.

  Args:
    name: `soundfile` (libsndfile and soxr), or `tfio` (tensorflow-io).

  Raises:
    ValueError: If there is no such decoder, or its packages are missing.
  """
  if name == "soundfile":
    return decode.read
  if name == "tfio":
    # TensorFlow is imported only where it was asked for.
    from tfds_builders.openaqa.full import tfio_audio

    return tfio_audio.read
  raise ValueError(f"decoder {name!r}: there are soundfile and tfio")


def load(path: str, clip_id: str, read: Reader) -> tuple[bytes, list[str]]:
  """Returns the FLAC of a clip, and what was changed on the way.

  Args:
    path: The user's file, on a disk or in a bucket.
    clip_id: Name of the clip, for errors.
    read: From `reader`.

  Returns:
    A FLAC file of 16 kHz, mono, int16, at most 164,080 samples; and kinds of
    `CHANGED`.

  Raises:
    AudioError: If the clip has to be left out; its `kind` is in `LEFT_OUT`.
  """
  name = f"{clip_id} ({path})"
  source: str | bytes = path
  if "://" in path:
    try:
      with epath.Path(path).open("rb") as file:
        source = file.read(_MOST_BYTES + 1)
    except OSError as error:
      message = f"{name}: cannot be opened: {error}"
      raise AudioError(message, "unopened") from error
    if len(source) > _MOST_BYTES:
      message = f"{name}: over {_MOST_BYTES >> 20} MB; cut it into clips"
      raise AudioError(message, "too_long")
  sound = read(source, name, max_seconds=CLIP_SAMPLES / SAMPLE_RATE)
  check(sound.pcm, name)
  changes = []
  if sound.sample_rate != SAMPLE_RATE:
    changes.append("resampled")
  if sound.channels > 1:
    changes.append("first_channel")
  if round(sound.seconds * SAMPLE_RATE) > CLIP_SAMPLES:
    changes.append("cut")
  return flac.encode(sound.pcm), changes


def check(pcm: np.ndarray, name: str) -> None:
  """Raises AudioError if int16 [N] has nothing to be heard."""
  if len(pcm) < MIN_SAMPLES:
    raise AudioError(
      f"{name}: {len(pcm)} samples at {SAMPLE_RATE} Hz", "too_short"
    )
  if (pcm == pcm[0]).all():
    raise AudioError(f"{name}: every sample is {pcm[0]}", "constant")
