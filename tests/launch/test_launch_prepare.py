"""Preparing data: the commands, held to gcloud, Beam's parser and pip."""

import os
import pathlib
import shlex
import subprocess
import sys

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from launch.prepare import __main__ as prepare
from launch.prepare import commands, estimate, sources

ROOT = pathlib.Path(__file__).parents[2]
IN = ("--project=p", "--bucket=b", "--manual_dir=gs://b/in")
VM = ("vm", *IN, "--zone=us-central1-a")

# Some of gcloud 528's own table of flags (data/cli/gcloud_completions.py), as
# they stand in https://cloud.google.com/sdk/gcloud/reference.
EVERYWHERE = {"project", "quiet"}
FLAGS = {
  "compute instances create": {
    *("boot-disk-size", "boot-disk-type", "image-family", "image-project"),
    *("machine-type", "metadata", "provisioning-model", "scopes", "zone"),
  },
  "compute instances delete": {"delete-disks", "keep-disks", "zone"},
  "compute ssh": {"command", "internal-ip", "ssh-flag", "zone"},
  "compute scp": {"compress", "internal-ip", "recurse", "zone"},
  "storage rsync": {"exclude", "no-clobber", "recursive", "skip-unsupported"},
}

# Notes its words, each on a line, and fails where FAIL stands in them.
STAND_IN = """#!/bin/sh
{ printf '%s\\n' "$@"; echo --; } >> "$LOG"
case "$*" in *"${FAIL:-nothing}"*) exit 7 ;; esac
"""


@pytest.fixture
def called(tmp_path, monkeypatch):
  """Puts a gcloud in the way that notes what it is called with."""
  stand_in = tmp_path / "bin" / "gcloud"
  stand_in.parent.mkdir()
  stand_in.write_text(STAND_IN)
  stand_in.chmod(0o755)
  log = tmp_path / "log"
  log.touch()
  monkeypatch.setenv("LOG", str(log))
  monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
  return lambda: [c.splitlines() for c in log.read_text().split("--\n")[:-1]]


def check_flags(words):
  name = next(n for n in FLAGS if words[: len(n.split())] == n.split())
  rest = words[len(name.split()) :]
  known = FLAGS[name] | EVERYWHERE
  flags = [w.partition("=")[0] for w in rest if w.startswith("--")]
  assert {f.removeprefix("--") for f in flags} <= known, words
  return name


def test_a_machine_builds_and_is_deleted(called, capsys):
  assert prepare.main(VM) == 0
  commands_run = called()
  names = [check_flags(words) for words in commands_run]
  assert [name.split()[-1] for name in names] == [
    *("create", "ssh", "scp", "ssh", "ssh", "delete")
  ]
  build = commands_run[4][-1].removeprefix("--command=")
  assert shlex.split(build) == [
    *("prepare/bin/tfds", "build", "openaqa/full", "--imports=tfds_builders"),
    *("--manual_dir=gs://b/in", "--data_dir=gs://b/tfds"),
  ]
  printed = [x for x in capsys.readouterr().out.splitlines() if x[0] == "+"]
  assert [shlex.split(line)[2:] for line in printed] == commands_run
  # What is printed in a dry run is what is run.
  assert prepare.main((*VM, "--dry-run")) == 0
  dry = capsys.readouterr().out.splitlines()
  assert [x for x in dry if x[0] == "+"] == printed
  assert called() == commands_run


def test_a_failed_build_leaves_the_machine_and_says_so(
  called, monkeypatch, capsys
):
  monkeypatch.setenv("FAIL", "tfds build")
  assert prepare.main((*VM, '--config={"name": "x"}')) == 2
  assert [words[1] for words in called()] == [
    *("instances", "ssh", "scp", "ssh", "ssh")
  ]
  said = capsys.readouterr().err
  assert "ltu-prepare is still there, and costs" in said
  assert "gcloud compute instances delete ltu-prepare" in said
  assert "ended with status 7" in said


def test_upload_and_bad_words(called, tmp_path, capsys):
  assert prepare.main(("upload", str(tmp_path), "gs://b/base")) == 0
  (words,) = called()
  assert check_flags(words) == "storage rsync"
  for args, said in [
    (("upload", str(tmp_path / "no"), "gs://b/x"), "is no folder"),
    (("upload", str(tmp_path), "b/x"), "is no gs://BUCKET/FOLDER"),
    (("vm", "--zone=z", *IN[:2], "--manual_dir=/in"), "`upload` copies"),
    (("vm", "--zone=z", IN[0], "--bucket=b/c", IN[2]), "--bucket is 'b/c'"),
    (("dataflow", *IN, "--region=r,x"), "no comma"),
  ]:
    assert prepare.main(args) == 2
    assert said in capsys.readouterr().err
  assert len(called()) == 1


def test_beam_knows_every_option(tmp_path):
  text = commands.beam_options(
    project="p",
    region="r",
    temp_location="gs://b/tmp",
    wheel=tmp_path / "x.whl",
    workers=7,
  )
  # As `tfds build` reads them (scripts/cli/cli_utils.py of TFDS 4.9.10).
  given = PipelineOptions(flags=[f"--{option}" for option in text.split(",")])
  # Of an option that it does not know Beam drops value and name.
  assert given.get_all_options(drop_default=True) == {
    "runner": "DataflowRunner",
    "project": "p",
    "region": "r",
    "temp_location": "gs://b/tmp",
    "requirements_file": str(commands.REQUIREMENTS),
    "requirements_cache": "skip",
    "extra_packages": [str(tmp_path / "x.whl")],
    "max_num_workers": 7,
  }
  # Beam stages this one file: it cannot name another.
  lines = commands.REQUIREMENTS.read_text().splitlines()
  assert not [line for line in lines if line.startswith("-")]
  assert commands.BEAM.replace("[gcp]", "") in lines


def test_pip_installs_the_code_that_git_knows(tmp_path):
  wheel = sources.write(ROOT, tmp_path)
  pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index"]
  target = tmp_path / "site"
  subprocess.run(
    [*pip, "--no-deps", "--no-compile", f"--target={target}", wheel], check=True
  )
  listed = subprocess.run(
    ["git", "ls-files", "ltu_jax", "tfds_builders"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  installed = {p for p in target.rglob("*") if p.is_file()}
  known = {target / name for name in listed.stdout.split()}
  assert known <= installed
  assert all(
    (ROOT / p.relative_to(target)).read_bytes() == p.read_bytes() for p in known
  )


def test_the_estimate_is_the_published_one():
  """tfds_builders/openaqa/README.md, Scale: on paper."""
  full = estimate.estimate(802_000, 5_681_708, cores=16)
  assert round(full.core_seconds / 3600, 1) == 1.7
  # 106 GB of records; the index is told apart there.
  assert round(full.stored_bytes / 1e9 - 0.043) == 106
  assert round(full.most_bytes / 1e9) == 160
  assert round(full.first_seconds / 60) == 2
  assert round((full.wall_seconds - full.first_seconds) / 60) == 6
  lines = full.lines(None, None, 16)
  assert len(lines) == 4 and "2 min" in lines[0]
  # Eight minutes of 16 cores at 1 a core-hour.
  assert full.lines(1.0, 0.5, 16)[4:] == [
    "machine: 2.18",
    "bucket, a month: 52.95, at most 80.22",
  ]
