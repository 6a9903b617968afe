"""From tables to questions to TFDS's data set to training, by one command."""

import io
import json
import re

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

import made_up_sources
from ltu_jax import train
from ltu_jax.aqa import __main__ as command
from tiny_run import tiny


def _make(folder, *options):
  return command.main(
    [
      *("make", *made_up_sources.every(folder), "--processes=1"),
      *(f"--audio={folder / 'audio'}", f"--out={folder / 'out'}"),
      *(f"--tfds={folder / 'data'}", *options),
      f"--features={folder / 'features.json'}",
    ]
  )


@pytest.mark.slow
def test_made_built_and_trained_on(tmp_path, capsys):
  made_up_sources.write(tmp_path)
  made_up_sources.write_sounds(tmp_path / "audio")
  (tmp_path / "features.json").write_text('{"Tap": "Sharp and dull"}')
  assert _make(tmp_path) == 0
  entries = json.loads((tmp_path / "out/closed.json").read_text())
  questions = {}
  for clip in tfds.data_source(
    "openaqa/full", split="train", data_dir=tmp_path / "data"
  ):
    pcm, rate = soundfile.read(io.BytesIO(clip["audio"]))
    assert (rate, pcm.shape) == (16000, (4800,))
    asked = clip["questions"]
    for row in zip(
      asked["instruction"],
      asked["task"],
      asked["dataset"],
      asked["output"],
      strict=True,
    ):
      questions.setdefault(tuple(x.decode() for x in row), []).append(pcm)
  expected = {}
  for entry in entries:
    key = tuple(entry[k] for k in ("instruction", "task", "dataset", "output"))
    pcm, _ = soundfile.read(tmp_path / "audio" / entry["audio_id"])
    expected.setdefault(key, []).append(pcm)
  # Each question with the very sound that it was made about.
  by_sound = lambda sounds: sorted(pcm.tobytes() for pcm in sounds)
  assert questions.keys() == expected.keys()
  for key, sounds in expected.items():
    assert by_sound(questions[key]) == by_sound(sounds), key

  config = tiny(tmp_path)
  config.data.update(
    name="openaqa/full", sounds_dir="", num_train=0, num_test=0
  )
  config.stages = {"stage2": config.stages.stage2.to_dict()}
  config.stages.stage2.update(steps=1, warmup_steps=0)
  train.run(config, str(tmp_path / "run"))
  (line,) = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
  assert np.isfinite(json.loads(line)["loss"])

  # The same questions are found built, others are not taken for them.
  capsys.readouterr()
  assert _make(tmp_path) == 0
  assert re.search("data set is in .*full/1.0.0", capsys.readouterr().err)
  assert _make(tmp_path, "--seed=1") == 2
  assert "was built of other questions" in capsys.readouterr().err
