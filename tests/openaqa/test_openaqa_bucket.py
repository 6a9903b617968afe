"""openaqa/full out of a bucket and into one: a real server, real clients."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest
import tensorflow_datasets as tfds

import made_up_openaqa as made_up
from bucket_server import BUCKET, Bucket

ROOT = pathlib.Path(__file__).parents[2]

_PROGRAM = """
  import json, sys
  import made_up_openaqa
  source, target, num_processes, num_shards = sys.argv[1:]
  built = made_up_openaqa.build(
    source,
    target,
    {"num_shards": int(num_shards)},
    num_processes=int(num_processes),
  )
  beside = sorted(path.name for path in built.data_path.parent.iterdir())
  print(json.dumps(beside))
  records = built.as_data_source("train")
  print(json.dumps([record["id"].decode() for record in records]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("manual")
  # The emulator takes no empty object.
  bad = [kind for kind in made_up.BAD_AUDIO if kind != "empty"]
  made_up.write(path, num_good=9, bad=bad, changed=made_up.CHANGED_AUDIO)
  return path


@pytest.fixture(scope="module")
def here(tmp_path_factory, folder):
  """Built on the disk."""
  out = tmp_path_factory.mktemp("here")
  return made_up.build(folder, out, {"num_shards": 3})


@pytest.mark.parametrize(
  "num_processes", [1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_built_from_a_bucket_into_a_bucket(
  folder, here, tmp_path, num_processes
):
  server = Bucket()
  try:
    server.upload(folder, "manual")
    done = subprocess.run(
      [
        *(sys.executable, "-c", textwrap.dedent(_PROGRAM)),
        *(f"gs://{BUCKET}/manual", f"gs://{BUCKET}/tfds"),
        *(str(num_processes), "3"),
      ],
      env=os.environ
      | server.environment
      | {"PYTHONPATH": os.path.dirname(__file__)},
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    beside, records = map(json.loads, done.stdout.splitlines()[-2:])
    assert beside == ["1.0.0"]
    ours = [r["id"].decode() for r in here.as_data_source("train")]
    assert records == ours
    server.download("tfds/openaqa/full/1.0.0", tmp_path)
  finally:
    server.close()
  for path in here.data_path.glob("*-*"):
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
  built = tfds.builder_from_directory(tmp_path)
  assert len(built.as_data_source("train")) == 12
