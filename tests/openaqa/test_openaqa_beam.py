"""Beam and the command line of TFDS build the same as this process does."""

import os
import pathlib
import subprocess
import sys

import apache_beam as beam
import pytest
import tensorflow_datasets as tfds

import made_up_openaqa as made_up
from tfds_builders.openaqa.full import build, shards

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def here(tmp_path_factory, folder):
  """Built in this process."""
  out = tmp_path_factory.mktemp("here")
  return made_up.build(folder, out, {"num_shards": 3}).data_path


def check_same(first, second):
  names = sorted(p.name for p in first.glob("*-*"))
  assert len(names) == 5  # Three shards, the index and the texts.
  for name in names:
    assert (first / name).read_bytes() == (second / name).read_bytes()


def tfds_build(folder, data_dir, *flags):
  """Runs `tfds build` as a user does."""
  return subprocess.run(
    [
      *(sys.executable, "-m", "tensorflow_datasets.scripts.cli.main", "build"),
      *("openaqa/full", "--imports=tfds_builders", "--num_shards=3"),
      *(f"--manual_dir={folder}", f"--data_dir={data_dir}", *flags),
    ],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
  )


@pytest.mark.parametrize(
  "options",
  [
    "runner=DirectRunner",
    pytest.param(
      "runner=DirectRunner,direct_running_mode=multi_processing,"
      "direct_num_workers=2",
      marks=pytest.mark.slow,
    ),
  ],
)
def test_tfds_build_with_beam_gives_the_same_files(
  folder, here, tmp_path, options
):
  out = tfds_build(folder, tmp_path, f"--beam_pipeline_options={options}")
  assert out.returncode == 0, out.stderr[-3000:]
  assert "making 3 shards with Beam" in out.stdout
  check_same(here, tmp_path / "openaqa" / "full" / "1.0.0")


def test_tfds_build_without_beam_gives_the_same_files(folder, here, tmp_path):
  out = tfds_build(folder, tmp_path)
  assert out.returncode == 0, out.stderr[-3000:]
  check_same(here, tmp_path / "openaqa" / "full" / "1.0.0")


def test_tfds_build_takes_options_as_json(folder, tmp_path):
  out = subprocess.run(
    [
      *(sys.executable, "-m", "tensorflow_datasets.scripts.cli.main", "build"),
      *("openaqa", "--imports=tfds_builders", f"--manual_dir={folder}"),
      f"--data_dir={tmp_path}",
      '--config={"name": "mine", "audio_roots": ["audio"], "num_processes": 1}',
    ],
    capture_output=True,
    text=True,
    check=False,
    cwd=ROOT,
  )
  assert out.returncode == 0, out.stderr[-3000:]
  built = tfds.builder_from_directory(tmp_path / "openaqa" / "mine" / "1.0.0")
  assert len(built.as_data_source("train")) == 23
  assert built.info.metadata["recipe"]["audio_roots"] == ["audio"]


def test_a_runner_object_works_and_goes_on(folder, here, tmp_path, capsys):
  download = {"num_shards": 3, "beam_runner": beam.runners.DirectRunner()}
  with pytest.raises(build.BuildError, match="min_coverage"):
    made_up.build(folder, tmp_path, download, min_coverage=0.99)
  with pytest.raises(build.BuildError, match="were used"):
    made_up.build(folder, tmp_path, download, min_coverage=0.9)
  capsys.readouterr()
  built = made_up.build(folder, tmp_path, download)
  assert "going on in" in capsys.readouterr().out
  check_same(here, built.data_path)


def test_a_worker_that_fails_ends_the_build(folder, tmp_path, monkeypatch):
  def fail(job, shard):
    raise OSError("no such bucket")

  monkeypatch.setattr(shards, "build", fail)
  download = {"beam_runner": beam.runners.DirectRunner()}
  with pytest.raises(OSError, match="no such bucket"):
    made_up.build(folder, tmp_path, download)
  assert not list(tmp_path.rglob("dataset_info.json"))


def test_without_apache_beam_it_is_named(folder, tmp_path):
  program = (
    "import sys; sys.modules['apache_beam'] = None\n"
    "import made_up_openaqa\n"
    f"made_up_openaqa.build({str(folder)!r}, {str(tmp_path)!r},"
    " {'beam_options': 1})\n"
  )
  out = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | {"PYTHONPATH": os.path.dirname(__file__)},
  )
  assert out.returncode == 1
  assert "pip install 'ltu-jax[beam]'" in out.stderr
