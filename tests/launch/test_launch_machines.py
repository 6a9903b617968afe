"""Scripts and manifests of launch/: what they say is true of this code."""

import copy
import math
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import setuptools
import yaml
from absl import flags
from ml_collections import config_flags

import ltu_jax
from ltu_jax import config_flag, main

ROOT = pathlib.Path(__file__).parents[2]
SLURM = ROOT / "launch" / "slurm.sbatch"
JOBSET = ROOT / "launch" / "gke" / "jobset.yaml"


@pytest.fixture
def parsed(monkeypatch):
  """The config that arguments of ltu_jax.main give; a wrong one raises."""

  def parse(arguments):
    argv = ["main", *arguments]
    # Where ml_collections looks for the config's fields.
    monkeypatch.setattr(sys, "argv", argv)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", flag_values=values)
    for flag in flags.FLAGS.flags_by_module_dict()[main.__name__]:
      if flag.name != "config":
        values[flag.name] = copy.deepcopy(flag)
    config_flag.parse(argv, values)
    return config_flag.config(values.config)

  return parse


def tool(name):
  beside = pathlib.Path(sys.executable).parent / name
  found = beside if beside.exists() else shutil.which(name)
  assert found, f"{name} is missing; it comes with the extra test"
  return str(found)


@pytest.mark.parametrize(
  "script", [SLURM, *ROOT.glob(".ci/*")], ids=lambda p: p.name
)
def test_shell_scripts_are_clean(script):
  subprocess.run(["bash", "-n", script], check=True)
  subprocess.run([tool("shellcheck"), "--severity=style", script], check=True)


# In srun's and scontrol's place: notes its words, and ends as it is told.
STAND_IN = """#!/bin/sh
echo "${0##*/} $*" >> log
case "$0" in *srun) exit "$STATUS" ;; esac
"""


@pytest.mark.parametrize(
  "status, restarts, ends, again",
  [(0, 0, 0, False), (75, 3, 0, True), (75, 100, 1, False), (2, 0, 2, False)],
)
def test_only_a_saved_run_is_queued_again(
  tmp_path, status, restarts, ends, again
):
  for name in ("srun", "scontrol"):
    (tmp_path / name).write_text(STAND_IN)
    (tmp_path / name).chmod(0o755)
  done = subprocess.run(
    ["bash", SLURM, "--workdir=/shared/runs/a b"],
    env={
      "PATH": f"{tmp_path}:/usr/bin:/bin",
      "SLURM_SUBMIT_DIR": str(tmp_path),
      "SLURM_JOB_ID": "7",
      "SLURM_RESTART_COUNT": str(restarts),
      "SLURM_CPUS_PER_TASK": "4",
      "LTU_PYTHON": sys.executable,
      "STATUS": str(status),
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == ends, done.stderr
  called = (tmp_path / "log").read_text().splitlines()
  assert called[0] == (
    f"srun --cpus-per-task=4 --gpu-bind=none {sys.executable} -m ltu_jax.main"
    " --stopped_status=75 --workdir=/shared/runs/a b"
  )
  assert called[1:] == (["scontrol requeue 7"] if again else [])


def test_slurm_directives_go_together():
  given = dict(
    re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", SLURM.read_text(), re.M)
  )
  assert given["gres"] == f"gpu:{given['ntasks-per-node']}"
  assert given["signal"].startswith("TERM@") and "requeue" in given
  assert given["open-mode"] == "append"


def test_the_manifest_is_of_one_slice(parsed):
  manifest = yaml.safe_load(JOBSET.read_text())
  (job,) = manifest["spec"]["replicatedJobs"]
  job = job["template"]["spec"]
  pod = job["template"]["spec"]
  (container,) = pod["containers"]
  assert job["parallelism"] == job["completions"]
  chips = container["resources"]["limits"]["google.com/tpu"]
  label = "cloud.google.com/gke-tpu-"
  row = (
    pod["nodeSelector"][f"{label}accelerator"],
    pod["nodeSelector"][f"{label}topology"],
    job["parallelism"],
    chips,
  )
  config = parsed(container["args"])
  assert row == ("tpu-v5-lite-podslice", "4x4", 4, 4)
  assert math.prod(map(int, row[1].split("x"))) == config.mesh.fsdp
  # What makes it go on: none is replaced alone, all are, and often.
  assert job["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"
  assert manifest["spec"]["failurePolicy"]["maxRestarts"] >= 10
  assert "--stopped_status=75" in container["args"]
  # No disk is shared.
  assert "volumes" not in pod and config.base.startswith("gs://BUCKET/")


def test_rows_of_the_table_are_slices(parsed):
  page = (ROOT / "docs" / "gke.md").read_text()
  rows = re.findall(
    r"^\| (\w+), (\d+) chips \| `([\w-]+)` \| `([\dx]+)` \| (\d+) \| (\d+) \|"
    r" (\d+) \|$",
    page,
    re.M,
  )
  assert len(rows) == 5
  for name, chips, kind, topology, hosts, per_host, fsdp in rows:
    assert math.prod(map(int, topology.split("x"))) == int(chips) == int(fsdp)
    assert int(hosts) * int(per_host) == int(chips)
    assert kind.startswith("tpu-v5-lite" if name == "v5e" else f"tpu-{name}")
  (command,) = re.findall(
    r'--command="python -m ltu_jax\.main (.*?)"', page, re.S
  )
  assert parsed(command.replace("\\\n", " ").split()).mesh.fsdp == 16


def copied(dockerfile):
  """The paths of the repository that a Dockerfile copies."""
  lines = re.findall(r"^COPY (?:--\S+ )?(.*) \S+$", dockerfile, re.M)
  return " ".join(lines).split()


# setuptools' own part of `pip install .`, where no ltu_jax is installed: -S
# leaves out the lines of .pth files, of which an installation with -e is one.
PREPARE = """
import sys
sys.path.append(sys.argv[1])
from setuptools import build_meta
build_meta.prepare_metadata_for_build_wheel(".")
"""


def test_the_image_installs_before_it_has_the_code(tmp_path):
  text = (ROOT / "launch" / "Dockerfile").read_text()
  for name in copied(text.partition("pip install")[0]):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / name, tmp_path / name)
  site = pathlib.Path(setuptools.__file__).parents[1]
  done = subprocess.run(
    [sys.executable, "-I", "-S", "-c", PREPARE, site],
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  (metadata,) = tmp_path.glob("*.dist-info/METADATA")
  assert f"\nVersion: {ltu_jax.__version__}\n" in metadata.read_text()


def test_the_image_has_what_its_commands_need():
  text = (ROOT / "launch" / "Dockerfile").read_text()
  allowed = {
    line[1:]
    for line in (ROOT / ".dockerignore").read_text().splitlines()
    if line.startswith("!")
  }
  assert {path.split("/")[0] for path in copied(text)} == allowed
  assert all((ROOT / name).exists() for name in allowed)
  assert re.search(r"^USER [1-9]\d*$", text, re.M)
  assert 'ENTRYPOINT ["python", "-m", "ltu_jax.main"]' in text
  extras = (ROOT / "setup.cfg").read_text()
  for extra in ("gcs", "tpu", "cuda", "demo"):
    assert re.search(rf"^{extra} =$", extras, re.M)
