"""What lies in the folder in which the commands of pages are run; no test.

A reader has the repository, and by and by a trained run, a bundle and sounds of
his own. Here the run is the smallest there is, and sounds are tones and noise.
"""

import json
import pathlib
import shutil

import numpy as np
import soundfile

import made_up_sounds
from tiny_run import tiny

ROOT = pathlib.Path(__file__).parents[1]

LABELS = ("Church_bell", "Dog", "Rain", "Siren")
"""Of the reader's own sounds."""

_RATE = 16000


def tiny_run(folder: pathlib.Path) -> pathlib.Path:
  """Trains what takes the place of runs/quickstart; returns its folder."""
  from ltu_jax import train

  made_up_sounds.write_folder(folder / "tones" / "classes")
  train.run(tiny(folder / "tones"), str(folder / "run"))
  return folder / "run"


def make(folder: pathlib.Path, run: pathlib.Path) -> pathlib.Path:
  """Makes the folder: the repository's files, `run` and some sounds.

  Args:
    folder: Where, called as the page is; not there yet.
    run: A trained run.
  """
  folder.mkdir(parents=True)
  for path in ROOT.iterdir():
    if not path.name.startswith(".") and path.name not in _OWN:
      (folder / path.name).symlink_to(path)
  shutil.copytree(run, folder / "runs/quickstart", symlinks=True)
  rng = np.random.default_rng(0)
  _write_noise(folder / "clip.wav", rng, 2)
  _write_noise(folder / "long.mp3", rng, 25)
  for number in range(3):
    _write_noise(folder / "clips" / f"{number}.wav", rng, 1)
  for number, label in enumerate(LABELS):
    for clip in range(4):
      path = folder / "sounds" / label / f"{clip}.wav"
      path.parent.mkdir(parents=True, exist_ok=True)
      hertz = 300 * 2**number * (1 + clip / 50)
      soundfile.write(path, made_up_sounds.tone(hertz, 1 + clip / 4), _RATE)
  _write_tables(folder)
  if folder.name == "openaqa":
    _write_open(folder / "aqa")
  return folder


_OWN = ("runs", "build", "dist", "data", "aqa", "sounds", "clips", "bases")
"""Folders that pages make; those of the repository's owner stay his."""


def _write_noise(
  path: pathlib.Path, rng: np.random.Generator, seconds: float
) -> None:
  """Writes noise, whose level changes."""
  path.parent.mkdir(parents=True, exist_ok=True)
  level = 0.1 + 0.05 * np.sin(np.arange(round(seconds * _RATE)) / 3000)
  soundfile.write(path, level * rng.uniform(-1, 1, len(level)), _RATE)


def _write_open(folder: pathlib.Path) -> None:
  """Writes open-ended questions, as a language model would have made them."""
  folder.mkdir()
  entries = [
    {
      "instruction": f"Where could clip {clip} of this sound be recorded?",
      "input": "",
      "audio_id": f"{label}/{clip}.wav",
      "dataset": "sounds",
      "task": "open-ended question",
      "output": f"Probably outdoors, as a {label.lower()} is heard from afar.",
    }
    for label in LABELS
    for clip in range(4)
  ]
  (folder / "open.json").write_text(json.dumps(entries))


def _write_tables(folder: pathlib.Path) -> None:
  """Writes questions about the clips, in both forms."""
  question = "What can be heard?"
  rows = [f"clips/{number}.wav,{question}" for number in range(3)]
  text = "\n".join(["audio,question", *rows]) + "\n"
  (folder / "questions.csv").write_text(text)
  entries = [
    {"audio_id": f"{number}.wav", "instruction": question} for number in (0, 1)
  ]
  (folder / "eval.json").write_text(json.dumps(entries))
