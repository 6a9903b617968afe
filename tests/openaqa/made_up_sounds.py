"""Sounds for tests, generated: a sounds_dir with a tone for each class."""

import numpy as np
import soundfile

from tfds_builders.openaqa import sounds

RATE = 16000

PITCHES = {"Low_hum": 200, "Fire": 500, "Mid_beep": 1200, "Whistle": 3000}
"""Frequency in Hz of each class's sounds, by name of the class's folder."""


def tone(hertz: float, seconds: float) -> np.ndarray:
  """A tone of even level from start to end; float32 [N], peak 0.5."""
  time = np.arange(round(seconds * RATE)) / RATE
  return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def write_folder(folder, clips=4):
  """Writes `clips` tones of different lengths and pitches for each class."""
  for name, hertz in PITCHES.items():
    (folder / name).mkdir(parents=True)
    for i in range(clips):
      soundfile.write(
        folder / name / f"clip{i}.wav",
        tone(hertz * (1 + 0.05 * i), 0.4 + 0.7 * i),
        RATE,
      )
  return folder


def bank(tmp_path) -> sounds.Bank:
  """The recordings of such a folder."""
  return sounds.from_folder(write_folder(tmp_path / "sounds"))
