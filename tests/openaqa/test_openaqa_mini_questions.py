"""The questions of `openaqa/mini`: the same as when they were first made."""

import hashlib
import json

import pytest
import soundfile

import made_up_sounds
from ltu_jax.aqa import records
from tfds_builders.openaqa import mini, sounds

# Of the code before it made anything but `mini`.
_DIGESTS = {
  "train": "a03614eaf621db45b5ac7d35321a1fac879d91f3987816926eee11ddb7095038",
  "test": "da32458e7b0c6a137ccacfabb72e20daa1fbd2bc9bc949dc3649757c1545c99e",
}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
  """Tones that are called by the names of the classes of `mini`."""
  folder = tmp_path_factory.mktemp("sounds")
  for number, label in enumerate(records.read_facts(sounds.CLASSES_TABLE)):
    (folder / label).mkdir()
    for clip in range(3):
      tone = made_up_sounds.tone(200 + 90 * number + 20 * clip, 0.5 + clip)
      path = folder / label / f"{clip}.wav"
      soundfile.write(path, tone, made_up_sounds.RATE)
  return sounds.from_folder(folder)


@pytest.mark.parametrize("split", _DIGESTS)
def test_nothing_else_is_asked_and_answered(bank, split):
  digest = hashlib.sha256()
  tasks = set()
  for number in range(24):
    example = mini.make_example(bank, split, number, seed=0)
    questions = example["questions"]
    digest.update(json.dumps([questions, example["caption"]]).encode())
    tasks |= {question["task"] for question in questions}
  assert len(tasks) == 7
  assert digest.hexdigest() == _DIGESTS[split]
