"""The preparation environment, for real: made, tested, and trained from.

tensorflow-io loads beside TensorFlow 2.17 alone, so what needs it runs in an
environment of its own, which is made here as its file says.
"""

import os
import pathlib
import re
import subprocess
import venv

import pytest

import made_up_openaqa
import made_up_sounds
import tiny_run
from ltu_jax import train
from ltu_jax.data.question_source import QuestionSource

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory):
  """Python of the preparation environment."""
  folder = tmp_path_factory.mktemp("prepare") / "venv"
  venv.create(folder, with_pip=True)
  pip = [folder / "bin" / "pip", "install", "-q"]
  wanted = ROOT / "launch" / "prepare" / "requirements.txt"
  subprocess.run([*pip, "-r", wanted], check=True)
  # What the tests that run there import.
  subprocess.run([*pip, "pytest", "dill", "jinja2"], check=True)
  return folder / "bin" / "python"


def run(python, *args):
  """Runs Python there, in the folder of the repository."""
  environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
  out = subprocess.run(
    [python, *args],
    cwd=ROOT,
    env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert out.returncode == 0, out.stdout[-3000:] + out.stderr[-3000:]
  return out.stdout


def run_tests(python, *paths):
  """Runs tests there; returns how many passed."""
  out = run(python, "-m", "pytest", "-q", "-o", "addopts=", *paths)
  assert "skipped" not in out
  return int(re.search(r"(\d+) passed", out)[1])


def test_pip_is_content(python):
  assert "No broken requirements" in run(python, "-m", "pip", "check")


def test_tfio_equals_soundfile_where_it_should(python):
  assert run_tests(python, "tests/prepare_env/check_tfio.py") >= 44


def test_the_builder_passes_its_tests_there(python):
  # Those of which another TensorFlow could change something. Beam is used there
  # by the last test.
  names = ("full", "clip_audio", "worker")
  paths = [f"tests/openaqa/test_openaqa_{name}.py" for name in names]
  assert run_tests(python, *paths) >= 45


def test_the_training_environment_says_what_is_missing(tmp_path):
  made_up_openaqa.write(tmp_path / "in", num_good=1)
  with pytest.raises(ValueError, match="make one from launch/prepare/req"):
    made_up_openaqa.build(tmp_path / "in", tmp_path, decoder="tfio")


def test_mini_is_built_there_and_trained_from_here(python, tmp_path):
  made_up_sounds.write_folder(tmp_path / "classes")
  run(
    python,
    "-c",
    "import tfds_builders, tensorflow_datasets as tfds\n"
    f"tfds.builder('openaqa/mini', data_dir={str(tmp_path / 'data')!r},"
    f" sounds_dir={str(tmp_path / 'classes')!r}, num_train=12, num_test=8)"
    ".download_and_prepare()",
  )
  config = tiny_run.tiny(tmp_path)
  config.data.prepare = False
  train.run(config, str(tmp_path / "run"))
  assert len((tmp_path / "run" / "metrics.jsonl").open().readlines()) == 9


def test_full_is_built_there_with_tfio_and_beam_and_trained_from_here(
  python, tmp_path
):
  made_up_openaqa.write(
    tmp_path / "in", num_good=24, changed=made_up_openaqa.CHANGED_AUDIO
  )
  run(
    python,
    *("-m", "tensorflow_datasets.scripts.cli.main", "build", "openaqa"),
    *("--imports=tfds_builders", "--num_shards=2"),
    f"--manual_dir={tmp_path / 'in'}",
    f"--data_dir={tmp_path / 'data'}",
    '--config={"name": "by_tfio", "decoder": "tfio"}',
    "--beam_pipeline_options=runner=DirectRunner",
  )
  source = QuestionSource.open("openaqa/by_tfio", "train", tmp_path / "data")
  assert source.num_rows == 3 * 27
  config = tiny_run.tiny(tmp_path)
  config.data.update(name="openaqa/by_tfio", sounds_dir="", num_train=0)
  config.data.num_test = 0
  # Made-up questions have no tasks of stage 0 that the others lack.
  train.run(config, str(tmp_path / "run"))
  assert len((tmp_path / "run" / "metrics.jsonl").open().readlines()) == 9
