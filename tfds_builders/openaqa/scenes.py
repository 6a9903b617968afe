"""Ten-second scenes: real recordings placed at known times on quiet noise.

Everything about a scene follows from the seed, the split and its number: the
same three give the same bytes, whatever was made before.

Shapes: N samples of a sound, S = 160,000 samples of a scene.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import soxr

from ltu_jax.audio.decode import SAMPLE_RATE
from tfds_builders.openaqa.sounds import Bank, Recording

SCENE_SECONDS = 10
"""Length of every scene: that of AudioSet's clips."""

# Times are truth to one decimal, so events start and end on tenths.
_TENTH = SAMPLE_RATE // 10
_TENTHS = SCENE_SECONDS * 10

# Events in every twenty scenes. More than half of the scenes have an order to
# be asked for, and many name one class clearly. Tests have more single events,
# so that each held-out recording is heard alone a few times.
_COUNTS = {
  "train": (1, 2, 1, 3, 1, 2, 1, 4, 1, 3, 1, 2, 1, 3, 2, 1, 3, 4, 1, 2),
  "test": (1, 2, 1, 3, 1, 2, 1, 4, 1, 2, 1, 3, 1, 2, 1, 4, 1, 3, 1, 2),
}

# Longest event in tenths by number of events; four still leave gaps.
_LONGEST = {1: 40, 2: 30, 3: 22, 4: 18}

# Sounds shorter than this many samples are repeated within their event, so
# every event lasts a second at least.
_SHORT = SAMPLE_RATE

_OVERLAP_SHARE = 0.15
_EVENT_DB = (-27.0, -19.0)
"""RMS of an event, in dB of full scale: of a quiet and of a loud one."""
_NOISE_DB = (-40.0, -30.0)
"""The background below the quietest event, in dB."""
_PEAK = 0.45
"""Highest peak of an event, so that two at once do not clip."""


@dataclasses.dataclass(frozen=True)
class Placed:
  """An event of a scene.

  Attributes:
    label: Class of the sound.
    recording: Name of the recording.
    onset: Start in seconds, with one decimal.
    offset: End in seconds, with one decimal.
    level: RMS of the event in dB of full scale.
  """

  label: str
  recording: str
  onset: float
  offset: float
  level: float


def make(
  bank: Bank, split: str, number: int, seed: int
) -> tuple[np.ndarray, tuple[Placed, ...]]:
  """Makes one scene.

  Args:
    bank: The recordings.
    split: `train` (sounds are varied) or `test` (they are as they are).
    number: Number of the scene in its split.
    seed: Seed of the data set.

  Returns:
    int16 [S], and the events in order of onset.
  """
  rng = np.random.default_rng([seed, list(_COUNTS).index(split), number])
  chosen = _choose(bank, split, number, rng)
  sounds = [
    _event(recording, _LONGEST[len(chosen)], rng, vary=split == "train")
    for recording in chosen
  ]
  onsets = _onsets([len(sound) // _TENTH for sound in sounds], rng)
  scene = np.zeros(_TENTHS * _TENTH, np.float32)
  placed = []
  for recording, sound, onset in zip(chosen, sounds, onsets, strict=True):
    sound, level = _set_level(sound, rng.uniform(*_EVENT_DB))
    scene[onset * _TENTH :][: len(sound)] += sound
    end = onset + len(sound) // _TENTH
    placed.append(
      Placed(recording.label, recording.name, onset / 10, end / 10, level)
    )
  floor = min(event.level for event in placed) + rng.uniform(*_NOISE_DB)
  scene += _noise(len(scene), rng) * 10 ** (floor / 20)
  pcm = np.clip(np.rint(scene * 32767), -32768, 32767).astype(np.int16)
  return pcm, tuple(placed)


def _choose(
  bank: Bank, split: str, number: int, rng: np.random.Generator
) -> list[Recording]:
  """Chooses one to four recordings of different classes.

  Scenes with one event go through the classes in turn, and within a class
  through its recordings in turn, so that all are heard equally often.
  """
  groups = bank.by_label(split)
  labels = list(groups)
  counts = _COUNTS[split]
  rounds, place = divmod(number, len(counts))
  count = min(counts[place], len(labels))
  if count == 1:
    single = rounds * counts.count(1) + counts[:place].count(1)
    turn, which = divmod(single, len(labels))
    recordings = groups[labels[which]]
    return [recordings[turn % len(recordings)]]
  picked = [groups[labels[i]] for i in rng.choice(len(labels), count, False)]
  return [recordings[rng.integers(len(recordings))] for recordings in picked]


def _event(
  recording: Recording, longest: int, rng: np.random.Generator, vary: bool
) -> np.ndarray:
  """Makes the sound of an event: whole tenths, at most `longest` of them.

  A short sound is repeated, a long one cut.

  Returns:
    float32 [N], N a multiple of a tenth of a second.
  """
  speed = np.exp(rng.uniform(-0.1, 0.1)) if vary else 1.0
  tilt = rng.uniform(-0.4, 0.4) if vary else 0.0

  def take() -> np.ndarray:
    """Returns one of the recording's takes, varied."""
    pcm = recording.takes[rng.integers(len(recording.takes))]
    return _varied(trim(pcm), speed, tilt)

  sound = take()
  if len(sound) < _SHORT:
    length = rng.uniform(1.0, min(2.5, longest / 10)) * SAMPLE_RATE
    gap = np.zeros(int(rng.uniform(0.05, 0.25) * SAMPLE_RATE), np.float32)
    while len(sound) < length:
      sound = np.concatenate([sound, gap, take()])
  most = longest * _TENTH
  if len(sound) > most:
    start = rng.integers(len(sound) - most) if _is_steady(sound) else 0
    sound = _fade(sound[start : start + most], bool(start))
  return np.pad(sound, (0, -len(sound) % _TENTH))


def trim(pcm: np.ndarray) -> np.ndarray:
  """Cuts silence off both ends: 10 ms pieces 40 dB below the loudest.

  Args:
    pcm: int16 [N].

  Returns:
    float32 [N or less], 1 = full scale; all of it if it is silent.
  """
  sound = pcm.astype(np.float32) / 32768
  piece = SAMPLE_RATE // 100
  pieces = np.pad(sound, (0, -len(sound) % piece)).reshape(-1, piece)
  power = (pieces**2).mean(1)
  (loud,) = np.nonzero(power > 1e-4 * power.max())
  if not len(loud):
    return sound
  return sound[loud[0] * piece : (loud[-1] + 1) * piece]


def _varied(sound: np.ndarray, speed: float, tilt: float) -> np.ndarray:
  """Plays a sound faster (and higher) and with more or less treble."""
  if speed != 1.0:
    # As if it had been recorded at a rate that is off by `speed`.
    sound = soxr.resample(sound, SAMPLE_RATE * speed, SAMPLE_RATE, quality="HQ")
  if tilt:
    sound = sound - tilt * np.concatenate([[0], sound[:-1]])
  return sound.astype(np.float32)


def _is_steady(sound: np.ndarray) -> bool:
  """Whether a sound goes on (a stream) and does not die away (a cymbal)."""
  third = len(sound) // 3
  first, last = (np.mean(s**2) for s in (sound[:third], sound[-third:]))
  # Within 10 dB.
  return bool(0.1 * first < last < 10 * first)


def _fade(sound: np.ndarray, at_start: bool) -> np.ndarray:
  """Fades 50 ms at the cut end, and 10 ms at the start if that was cut."""
  sound = sound.copy()
  out = np.linspace(1, 0, SAMPLE_RATE // 20, dtype=np.float32)
  sound[-len(out) :] *= out
  if at_start:
    into = np.linspace(0, 1, SAMPLE_RATE // 100, dtype=np.float32)
    sound[: len(into)] *= into
  return sound


def _onsets(lengths: Sequence[int], rng: np.random.Generator) -> list[int]:
  """Places events of given lengths one after another; all in tenths.

  The time that is left over is spread at random before, between and after.
  Now and then an event starts before the one before it has ended.
  """
  free = _TENTHS - sum(lengths)
  cuts = np.sort(rng.integers(0, free + 1, len(lengths)))
  onsets = []
  for i, cut in enumerate(cuts):
    onset = int(cut) + sum(lengths[:i])
    if i and rng.random() < _OVERLAP_SHARE:
      # Less than half of an event: onsets stay half a second apart, and so
      # their order stays clear.
      onset -= int(rng.integers(1, lengths[i - 1] // 2))
    onsets.append(onset)
  return onsets


def _set_level(sound: np.ndarray, level: float) -> tuple[np.ndarray, float]:
  """Scales a sound to an RMS in dB of full scale, or less if it is peaky."""
  rms, peak = np.sqrt(np.mean(sound**2)), np.abs(sound).max()
  gain = min(10 ** (level / 20) / rms, _PEAK / peak)
  return sound * np.float32(gain), float(20 * np.log10(gain * rms))


def _noise(length: int, rng: np.random.Generator) -> np.ndarray:
  """Makes noise between pink and brown; float32 [length], RMS 1.

  So are wind and traffic afar; and FLAC stores white noise badly.
  """
  spectrum = np.fft.rfft(rng.standard_normal(length, np.float32))
  hertz = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 20)
  noise = np.fft.irfft(spectrum * hertz ** -rng.uniform(0.5, 1), length)
  return (noise / np.sqrt(np.mean(noise**2))).astype(np.float32)
