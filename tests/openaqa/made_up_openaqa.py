"""A folder in the published format of OpenAQA, with computed sounds."""

import io
import json

import numpy as np
import soundfile
import tensorflow_datasets as tfds

import tfds_builders

assert tfds_builders  # Importing it registers the builder.

JSON = "openaqa_5.6M.json"

TASKS = ("cla_label", "cla_label_des", "caption", "open-ended question")


def noise(seed, seconds=1.0, rate=16000):
  """int16 [N] that tells clips apart."""
  rng = np.random.default_rng(seed)
  return rng.integers(-9000, 9000, round(seconds * rate), dtype=np.int16)


def encode(samples, rate=16000, format_="FLAC", subtype=None):
  """A sound file in memory."""
  file = io.BytesIO()
  soundfile.write(file, samples, rate, format=format_, subtype=subtype)
  return file.getvalue()


def _nan():
  samples = noise(3).astype(np.float32) / 32768
  samples[5] = np.nan
  return encode(samples, format_="WAV", subtype="FLOAT")


def _minutes():
  """Ten minutes; a tone, as noise would fill the disk."""
  time = np.arange(600 * 8000) / 8000
  return encode((9000 * np.sin(2800 * time)).astype(np.int16), 8000)


# A file for each rule, by the kind that has to be counted.
BAD_AUDIO = {
  "empty": lambda: b"",
  "damaged": lambda: bytes(range(256)) * 20,
  "cut_short": lambda: encode(noise(1), format_="WAV")[:9000],
  "not_finite": _nan,
  "no_samples": lambda: encode(noise(1)[:0], format_="WAV"),
  "too_short": lambda: encode(noise(1, 0.001)),
  "constant": lambda: encode(np.full(16000, 7, np.int16)),
}

CHANGED_AUDIO = {
  "resampled": lambda: encode(noise(5, 1.0, 44100), 44100, "WAV"),
  "first_channel": lambda: encode(noise(6, 2.0).reshape(-1, 2)),
  "cut": lambda: encode(noise(7, 12.0)),
}


def question(name, number, **changes):
  """An entry about a clip, as published."""
  return {
    "instruction": f"Question {number} about {name}?",
    "input": "",
    "audio_id": f"/data/sls/audioset/dave_version/audio/{name}.flac",
    "dataset": f"source_{len(name) % 3}",
    "task": TASKS[number % len(TASKS)],
    "output": f"Answer {number} about {name}, café.",
  } | changes


def write_audio(folder, num_good=20, bad=(), changed=()):
  """Writes sounds to `folder/audio`; returns the clips' names, good ones first.

  Good ones are `good_00`, ...; the others are called by their kind.
  """
  audio = folder / "audio"
  audio.mkdir(parents=True, exist_ok=True)
  good = [f"good_{i:02d}{'x' * (i % 3)}" for i in range(num_good)]
  for i, name in enumerate(good):
    (audio / f"{name}.flac").write_bytes(encode(noise(100 + i, 0.2)))
  for kind in bad:
    (audio / f"{kind}.wav").write_bytes(BAD_AUDIO[kind]())
  for kind in changed:
    (audio / f"{kind}.wav").write_bytes(CHANGED_AUDIO[kind]())
  return [*good, *bad, *changed]


def entries(names, each=3):
  """Questions about clips: `each` a clip, those of a clip far apart."""
  return [question(name, i) for i in range(each) for name in names]


def write_json(folder, questions, name=JSON):
  """Writes a file of entries as the published code does."""
  folder.mkdir(parents=True, exist_ok=True)
  text = json.dumps(questions, indent=1)
  (folder / name).write_text(text)


def write(folder, **kwargs):
  """Writes sounds and questions; returns the names of the clips."""
  names = write_audio(folder, **kwargs)
  write_json(folder, entries(names))
  return names


def builder(folder, data_dir, **options):
  """The builder of `openaqa/full`, in this process unless asked otherwise."""
  options = {"num_processes": 1} | options
  return tfds.builder("openaqa/full", data_dir=data_dir, **options)


def build(folder, data_dir, download=None, **options):
  """Builds `openaqa/full` from a folder; returns the builder."""
  made = builder(folder, data_dir, **options)
  made.download_and_prepare(
    download_config=tfds.download.DownloadConfig(
      manual_dir=folder, **(download or {})
    )
  )
  return made


def report(builder):
  """What build_report.json of a built data set says."""
  return json.loads((builder.data_path / "build_report.json").read_text())
