r"""OpenAQA at full size: made up, built, opened; time, memory and disk.

    python -m benchmarks.openaqa_scale make --folder=IN --clips=20000
    python -m benchmarks.openaqa_scale build --folder=IN --data_dir=OUT
    python -m benchmarks.openaqa_scale open --data_dir=OUT

`make` writes a folder in the published format: JSON entries in the published
shares of tasks with real words, and sound files that are hard links to a few
hundred real clips (scenes of openaqa/mini, which has to be built: --mini_dir).
Hard cases are mixed in, as in `_HARD` and `_BAD_FILES`. `--seconds` shortens
the clips, to have more of them than the disk would hold.
"""

import argparse
import json
import math
import os
import pathlib
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

import numpy as np
import soundfile
import soxr
import tensorflow_datasets as tfds
import tqdm

import tfds_builders
from ltu_jax.audio.decode import CLIP_SAMPLES, decode
from ltu_jax.data import question_index
from ltu_jax.data.question_source import QuestionSource

QUESTIONS_PER_CLIP = 5_681_708 / 845_000
"""Of OpenAQA (LTU paper, section 4)."""

# Questions of each task in OpenAQA; the paper gives captions and temporal ones
# together, which are cut in halves here.
_TASKS = {
  "cla_label": 345_175,
  "cla_label_des": 845_314,
  "caption": 363_702,
  "temporal_order": 121_234,
  "temporal_single": 121_234,
  "temporal_all": 121_234,
  "open-ended question": 3_763_814,
}

# Of 845,000 clips, roughly; folder in the audio_id, how the user's file is
# named for the clip's name, and how the clip is named for its number.
_SOURCES = {
  "as_500k": (0.50, "/data/sls/audioset/dave_version/audio", "Y{}.flac", "yt"),
  "vggsound_train": (0.22, "/data/vggsound/audio", "{}.wav", "seg"),
  "as_strong_train": (
    0.12,
    "/data/sls/audioset/dave_version/audio",
    "{}.flac",
    "yt",
  ),
  "fsd50k_tr": (0.05, "/data/fsd50k/dev_16k", "{}.wav", "number"),
  "audiocaps_train": (0.06, "/data/audiocaps/train", "{}.mp3", "yt"),
  "freesound_10s": (0.05, "/data/freesound", "{}.ogg", "number"),
}

# Share of the entries that are bad in some way.
_HARD = {
  "missing_key": 1e-4,
  "wrong_type": 1e-4,
  "empty_answer": 1e-4,
  "not_an_object": 1e-4,
  "encoding": 1e-3,
  "unanswerable": 0.12,
}

_DUPLICATES = 0.02
"""Share of the entries that stand twice."""

_MISSING = 0.05
"""Share of the clips without a file."""

_BAD_FILES = 0.002
"""Share of the files that are broken."""

_YOUTUBE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _at(at: float, shares: Mapping[str, float]) -> str | None:
  """Returns whose share of [0, 1) a number is in; None if in none's."""
  for name, share in shares.items():
    at -= share
    if at < 0:
      return name
  return None


def clip_name(number: int, kind: str) -> str:
  """Names a clip as its source does: by YouTube id, with start, or number."""
  if kind == "number":
    return str(1_000_000 + number)
  rng = random.Random(number)
  name = "".join(rng.choices(_YOUTUBE, k=11))
  return f"{name}_{rng.randrange(300):06d}" if kind == "seg" else name


def clip(number: int) -> tuple[str, str, str, str]:
  """Returns data set, audio_id, the user's file name, and its suffix."""
  # The fractional part of multiples of the golden ratio is spread evenly.
  at = number * 0.6180339887498949 % 1
  dataset = _at(at, {name: source[0] for name, source in _SOURCES.items()})
  _, folder, pattern, kind = _SOURCES[dataset or "as_500k"]
  name = clip_name(number, kind)
  file = pattern.format(name)
  return (
    dataset or "as_500k",
    f"{folder}/{name}.flac",
    file,
    file.rpartition(".")[2],
  )


def make(args: argparse.Namespace) -> None:
  """Writes sounds and questions."""
  start = time.monotonic()
  folder = pathlib.Path(args.folder)
  source = QuestionSource.open("openaqa/mini", "train", args.mini_dir or None)
  models = _model_files(folder / "models", source, args.models, args.seconds)
  linked = _link_files(folder / "audio", models, args.clips)
  print(f"{linked} sound files in {time.monotonic() - start:.0f} s", flush=True)
  num_questions = round(args.clips * QUESTIONS_PER_CLIP)
  path = folder / "openaqa_5.6M.json"
  _write_json(path, _entries(source, args.clips, num_questions))
  print(
    f"{num_questions} entries, {path.stat().st_size / 1e9:.2f} GB, in all"
    f" {time.monotonic() - start:.0f} s"
  )


def _model_files(
  folder: pathlib.Path, source: QuestionSource, count: int, seconds: float
) -> dict[str, list[pathlib.Path]]:
  """Writes the real clips in every format: 16 and 44.1 kHz, mono and stereo."""
  folder.mkdir(parents=True)
  models = {"flac": [], "wav": [], "mp3": [], "ogg": []}
  step = len(source.clips) // count
  for i in range(count):
    pcm = decode(source.clips[i * step]["audio"])
    if seconds:
      pcm = pcm[: round(seconds * 16000)]
    suffix = list(models)[i % 4]
    path = folder / f"{i}.{suffix}"
    if suffix == "flac":
      soundfile.write(path, pcm, 16000)
    else:
      wide = soxr.resample(pcm, 16000, 44100)
      soundfile.write(path, np.stack([wide, wide], 1), 44100)
    models[suffix].append(path)
  return models


def _bad_file(path: pathlib.Path, model: pathlib.Path, number: int) -> None:
  """Writes a broken copy of a file, one way or another."""
  data = model.read_bytes()
  ways = (b"", data[: len(data) // 3], bytes(1000) + data, b"no sound at all")
  path.write_bytes(ways[number % len(ways)])


def _link_files(
  folder: pathlib.Path, models: dict[str, list[pathlib.Path]], clips: int
) -> int:
  """Gives each clip a file, but for the missing ones; returns how many."""
  count = 0
  for number in tqdm.tqdm(range(clips), desc="files", mininterval=2):
    dataset, _, file, suffix = clip(number)
    rng = random.Random(-number)
    if rng.random() < _MISSING:
      continue
    where = folder / dataset / f"{number % 100:02d}"
    where.mkdir(parents=True, exist_ok=True)
    model = models[suffix][number // 7 % len(models[suffix])]
    if rng.random() < _BAD_FILES:
      _bad_file(where / file, model, number)
    else:
      os.link(model, where / file)
    count += 1
  return count


def _entries(
  source: QuestionSource, clips: int, questions: int
) -> Iterator[object]:
  """Yields entries, those of a clip far apart, with hard cases."""
  pools = {task: _pool(source, task) for task in _TASKS}
  rng = random.Random(0)
  tasks, weights = list(_TASKS), list(_TASKS.values())
  # A step without a common factor goes through all clips again and again.
  steps = range(round(clips * 0.618), clips)
  step = next(s for s in steps if math.gcd(s, clips) == 1)
  last: object = None
  for i in range(questions):
    if last is not None and rng.random() < _DUPLICATES:
      yield last
      continue
    (task,) = rng.choices(tasks, weights)
    instruction, output = rng.choice(pools[task])
    if task == "open-ended question":
      # As long as the published ones: 405 bytes an entry on average.
      others = rng.choices(pools[task], k=3)
      output = " ".join([output, *(answer for _, answer in others)])
    elif rng.random() < 0.5:
      instruction = f"Closed-ended question: {instruction}"
    dataset, audio_id, _, _ = clip(i * step % clips)
    last = {
      "instruction": instruction,
      "input": "",
      "audio_id": audio_id,
      "dataset": dataset,
      "task": task,
      "output": output,
    }
    yield _spoilt(last, rng)


def _pool(source: QuestionSource, task: str) -> list[tuple[str, str]]:
  """Returns some questions and answers of a task."""
  rows = source.select(tasks=[task])
  step = max(1, rows.num_rows // 300)
  picked = (rows[i] for i in range(0, rows.num_rows, step))
  return [(question.instruction, question.output) for question in picked]


def _spoilt(entry: dict, rng: random.Random) -> object:
  """Returns the entry, or now and then one of the hard cases."""
  kind = _at(rng.random(), _HARD)
  if kind is None:
    return entry
  if kind == "missing_key":
    return {k: v for k, v in entry.items() if k != "output"}
  changes = {
    "wrong_type": {"output": 3},
    "empty_answer": {"output": ""},
    "encoding": {"output": "A café\N{RIGHT SINGLE QUOTATION MARK}s noise."},
    "unanswerable": {
      "output": "It cannot be determined from the given information."
    },
  }
  return entry | changes[kind] if kind in changes else repr(entry)


def _write_json(path: pathlib.Path, entries: Iterator[object]) -> None:
  """Writes a list as `json.dump(..., indent=1)` does, one entry at a time.

  Entries with an accent are written in Windows-1252, all others in ASCII.
  """
  with path.open("wb") as file:
    file.write(b"[")
    for number, entry in enumerate(tqdm.tqdm(entries, mininterval=2)):
      text = json.dumps(entry, indent=1, ensure_ascii=False)
      text = ("\n" + text).replace("\n", "\n ")
      file.write((b"," if number else b"") + text.encode("cp1252"))
    file.write(b"\n]")


def build(args: argparse.Namespace) -> None:
  """Builds in a process of its own, and measures it and its workers."""
  if not args.inside:
    subprocess.run(
      [
        *(
          sys.executable,
          "-m",
          "benchmarks.openaqa_scale",
          "build",
          "--inside",
        ),
        *(f"--folder={args.folder}", f"--data_dir={args.data_dir}"),
        f"--processes={args.processes}",
      ],
      check=True,
    )
    return
  folder = pathlib.Path(args.folder)
  start = time.monotonic()
  builder = tfds.builder(
    "openaqa/full", data_dir=args.data_dir, num_processes=args.processes
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=folder)
  )
  seconds = time.monotonic() - start
  own, workers = (
    resource.getrusage(who)
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
  )
  clips = builder.info.splits["train"].num_examples
  records = builder.info.splits["train"].num_bytes
  rows = {
    "wall seconds": f"{seconds:.0f}",
    "CPU seconds, this process": f"{own.ru_utime + own.ru_stime:.0f}",
    "CPU seconds, workers": f"{workers.ru_utime + workers.ru_stime:.0f}",
    "peak memory, this process": f"{own.ru_maxrss / 1e6:.2f} GB",
    "clips": f"{clips}",
    "JSON": f"{(folder / 'openaqa_5.6M.json').stat().st_size / 1e9:.3f} GB",
    "records": f"{records / 1e9:.2f} GB, {records / clips / 1e3:.0f} kB a clip",
    "PCM of 10.24 s would be": f"{clips * CLIP_SAMPLES * 2 / 1e9:.2f} GB",
  }
  print("\n".join(f"{name:30s} {value}" for name, value in rows.items()))


def open_(args: argparse.Namespace) -> None:
  """Opens what was built, selects, shuffles, and reads at random."""
  # Imported before, so that opening is measured and not importing.
  from ltu_jax.data import openaqa
  from ltu_jax.data.tokenizer import SentencePieceTokenizer

  assert tfds_builders
  before = _memory()
  start = time.monotonic()
  source = QuestionSource.open("openaqa/full", "train", args.data_dir)
  opened = time.monotonic() - start
  memory = _memory() - before
  tokenizer = SentencePieceTokenizer("tests/golden/tiny_spm.model")
  start = time.monotonic()
  part = source.select(tasks=question_index.CLOSED_ENDED)
  selected = time.monotonic() - start
  start = time.monotonic()
  batches = openaqa.Batches(source, tokenizer, batch_size=64, seed=0)
  iterator = iter(batches.dataset())
  next(iterator)
  first = time.monotonic() - start
  path = question_index.path(source_dir(args.data_dir), "train")
  rows = {
    "questions, clips": f"{source.num_rows}, {len(source.clips)}",
    "index file": f"{path.stat().length / 1e6:.1f} MB",
    "open": f"{opened:.2f} s, {memory / 1e6:.0f} MB",
    "select closed-ended": f"{selected:.2f} s, {part.num_rows} questions",
    "first shuffled batch of 64": f"{first:.2f} s",
    "memory more than at the start": f"{(_memory() - before) / 1e6:.0f} MB",
  }
  print("\n".join(f"{name:30s} {value}" for name, value in rows.items()))


def source_dir(data_dir: str) -> pathlib.Path:
  """Returns the folder of the data set."""
  return pathlib.Path(data_dir) / "openaqa" / "full" / "1.0.0"


def _memory() -> int:
  """Returns the bytes that this process holds now."""
  pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
  return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
  """Runs one of the three."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parts = parser.add_subparsers(required=True)
  sub = parts.add_parser("make", help="write JSON and sounds")
  sub.add_argument("--folder", required=True, help="is made")
  sub.add_argument("--clips", type=int, default=20_000)
  sub.add_argument("--models", type=int, default=240, help="real clips")
  sub.add_argument("--seconds", type=float, default=0, help="0: whole clips")
  sub.add_argument("--mini_dir", default="", help="TFDS's folder")
  sub.set_defaults(run=make)
  sub = parts.add_parser("build", help="build it, and measure")
  sub.add_argument("--folder", required=True)
  sub.add_argument("--data_dir", required=True)
  sub.add_argument("--processes", type=int, default=0)
  sub.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
  sub.set_defaults(run=build)
  sub = parts.add_parser("open", help="open it, and measure")
  sub.add_argument("--data_dir", required=True)
  sub.set_defaults(run=open_)
  args = parser.parse_args()
  args.run(args)


if __name__ == "__main__":
  main()
