"""The README quick start, for real: fetch, train, be killed, go on, answer.

With fewer steps: enough to hear, in half the time. The line itself is run by
shared/tools/newcomer.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
import soundfile

from ltu_jax.audio.decode import decode
from tfds_builders.openaqa.openaqa_dataset_builder import Builder

ROOT = pathlib.Path(__file__).parent.parent

STEPS = {"stage0": 300, "stage2": 900, "stage3": 100, "stage4": 100}


def command(*args: str) -> list[str]:
  return [sys.executable, "-m", *args]


def environment() -> dict[str, str]:
  """One device, as a newcomer has it; not the tests' eight."""
  return {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}


def kill_at(line: str, process: subprocess.Popen) -> None:
  for text in process.stdout:
    if text.startswith(line):
      process.send_signal(signal.SIGKILL)
      break
  else:
    pytest.fail(f"the run ended without a line {line!r}")
  process.wait()


@pytest.mark.slow
def test_quickstart_learns_to_hear(tmp_path):
  train = command(
    "ltu_jax.main",
    f"--config={ROOT / 'configs/quickstart.py'}",
    f"--workdir={tmp_path / 'run'}",
    f"--config.data.dir={tmp_path / 'data'}",
    *(f"--config.stages.{stage}.steps={n}" for stage, n in STEPS.items()),
  )
  run = {"cwd": ROOT, "env": environment(), "text": True}
  first = subprocess.Popen(
    train, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **run
  )
  kill_at("stage 0  step 120/", first)
  second = subprocess.run(train, capture_output=True, **run)
  assert second.returncode == 0, second.stderr[-2000:]
  assert "stage 0: going on at step 100" in second.stdout

  lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").open()]
  assert [x["step"] for x in lines if x["stage"] == 0][:150] == [*range(1, 151)]

  report = json.loads((tmp_path / "run/report.json").read_text())
  held_out = report["held_out"]
  labels, silent = held_out["labels"], held_out["labels_no_audio"]
  assert labels["count"] >= 100
  # Far from chance and from the model without ears: intervals do not touch.
  assert labels["interval_95"][0] > 4 * held_out["labels_chance"]
  assert labels["interval_95"][0] > silent["interval_95"][1]

  _another_clip_gives_chance(tmp_path, run)
  clip = _held_out_clip(tmp_path)
  for audio in ([str(clip)], []):
    asked = subprocess.run(
      command(
        "ltu_jax.ask",
        f"--workdir={tmp_path / 'run'}",
        *audio,
        "What can be heard?",
      ),
      capture_output=True,
      **run,
    )
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.strip()


def _another_clip_gives_chance(tmp_path: pathlib.Path, run: dict) -> None:
  """Asks about each clip with another one's sound."""
  evaluated = subprocess.run(
    command(
      *("ltu_jax.evaluate", f"--workdir={tmp_path / 'run'}", "--sets=mini"),
      *("--protocols=constrained", "--controls=shuffled", "--json"),
    ),
    capture_output=True,
    **run,
  )
  assert evaluated.returncode == 0, evaluated.stderr
  (mini,) = json.loads(evaluated.stdout)
  metrics = {metric["protocol"]: metric for metric in mini["metrics"]}
  for protocol in ("exact", "constrained"):
    heard = metrics[protocol]
    other = metrics[f"{protocol}, another item's audio"]
    assert heard["low"] > 4 * heard["chance"]
    # Binomial of 120 at 1/14: a deviation of 0.024, three of them.
    assert other["value"] < other["chance"] + 0.07


def _held_out_clip(tmp_path: pathlib.Path) -> pathlib.Path:
  """Writes a test scene as a stereo wav file."""
  builder = Builder(config="mini", data_dir=tmp_path / "data")
  source = builder.as_data_source("test")
  pcm = decode(source[0]["audio"])
  path = tmp_path / "clip.wav"
  soundfile.write(path, pcm.repeat(2).reshape(-1, 2), 16000)
  return path
