"""Reading a data set from a bucket: a real server, the real readers."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

import made_up_sounds
from bucket_server import BUCKET, Bucket
from ltu_jax.data import bucket, prepare
from ltu_jax.data.question_source import QuestionSource


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """`config.data` of a small data set on the disk."""
  root = tmp_path_factory.mktemp("bucket")
  made_up_sounds.write_folder(root / "classes")
  data = {
    "name": "openaqa/mini",
    "dir": str(root / "data"),
    "prepare": True,
    "sounds_dir": str(root / "classes"),
    "num_train": 12,
    "num_test": 6,
  }
  prepare.open_splits(data)
  return data


@pytest.fixture(scope="module")
def server():
  """A running bucket."""
  server = Bucket()
  yield server
  server.close()


@pytest.fixture(scope="module")
def in_bucket(data, server):
  """`config.data` of its copy in the bucket, as a run on a TPU has it."""
  server.upload(pathlib.Path(data["dir"]) / "openaqa", "tfds/openaqa")
  not_asked = {"sounds_dir": "", "num_train": 0, "num_test": 0}
  return data | not_asked | {"dir": f"gs://{BUCKET}/tfds"}


def run(program, server, *args):
  """Runs a program in a process of its own; returns what it prints, as JSON.

  The readers look at the environment once a process, and in this one others
  have imported what should not be needed.
  """
  done = subprocess.run(
    [sys.executable, "-c", textwrap.dedent(program), *args],
    env=os.environ | server.environment,
    cwd=pathlib.Path(__file__).parents[2],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


READ = """
  import json, sys
  from ltu_jax.data import openaqa, prepare, tokenizer
  from ltu_jax.data.question_source import QuestionSource
  data = json.loads(sys.argv[1])
  train, test = prepare.open_splits(data)
  direct = QuestionSource.open(data["name"], "test", data["dir"])
  spm = tokenizer.SentencePieceTokenizer("tests/golden/tiny_spm.model")
  batches = openaqa.Batches(train, spm, batch_size=4, seed=0, num_threads=2)
  batch = next(iter(batches.dataset()))
  print(json.dumps({
    "questions": [train.num_rows, test.num_rows],
    "rows": [train.describe(row) for row in range(0, train.num_rows, 7)],
    "direct": direct.describe(5),
    "recordings": len(prepare.recordings(data)["train"]),
    "pcm": int(batch["pcm"].astype(int).__abs__().sum()),
    "tensorflow": "tensorflow" in sys.modules,
  }))
"""


def test_a_bucket_gives_what_the_disk_gives_without_tensorflow(
  data, in_bucket, server
):
  server.asked.clear()
  found = run(READ, server, json.dumps(in_bucket))
  asked = "\n".join(server.asked)
  # Each of the three readers came: TFDS, the index, the records.
  assert "dataset_info.json" in asked
  assert "question_index-train.npz" in asked
  assert "train.array_record-00000-of-00001?alt=media" in asked
  assert not found["tensorflow"]
  wanted = run(READ, server, json.dumps(data))
  assert found == wanted
  assert found["pcm"] > 0


ERROR = """
  import json, sys
  from ltu_jax.data import prepare
  from ltu_jax.data.question_source import QuestionSource
  data = json.loads(sys.argv[1])
  try:
    QuestionSource.open(data["name"], "train", data["dir"])
  except FileNotFoundError as error:
    direct = str(error)
  try:
    prepare.open_splits(data)
  except prepare.PrepareError as error:
    print(json.dumps([str(error), direct]))
"""


@pytest.mark.parametrize("prepare_it", [True, False])
@pytest.mark.parametrize("bucket_name", [BUCKET, "no-such-bucket"])
def test_what_is_not_in_the_bucket_is_told_and_not_built(
  in_bucket, server, bucket_name, prepare_it
):
  folder = f"gs://{bucket_name}/elsewhere"
  data = in_bucket | {"dir": folder, "prepare": prepare_it}
  server.asked.clear()
  message, direct = run(ERROR, server, json.dumps(data))
  assert any(bucket_name in path for path in server.asked)
  assert message == direct
  assert f"openaqa/mini is not prepared in {folder}" in message
  assert "cannot be built into a bucket" in message
  assert "tfds build openaqa/mini --imports=tfds_builders" in message
  assert f"gcloud storage cp -r DATA_DIR/openaqa {folder}/" in message


def test_other_kinds_of_address(data):
  with pytest.raises(
    prepare.PrepareError, match=r"config\.data\.dir: s3://x/y: a data set is"
  ):
    prepare.open_splits(data | {"dir": "s3://x/y"})
  with pytest.raises(ValueError, match="from gs://BUCKET/FOLDER"):
    QuestionSource.open("openaqa/mini", "train", "s3://x/y")


def test_without_gcsfs_the_error_says_what_to_install(data, monkeypatch):
  monkeypatch.setattr(bucket.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(
    prepare.PrepareError, match=r"needs gcsfs; .* pip install 'ltu-jax\[gcs\]'"
  ):
    prepare.open_splits(data | {"dir": "gs://x/y"})
