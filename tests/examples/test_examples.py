"""The example scripts, at a small size, on the folder that pages are run in."""

import subprocess
import sys

import pytest

import page_kit
from ltu_jax import base
from ltu_jax.convert import __main__ as convert
from tests import page_commands

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("examples")
  return page_kit.make(root / "folder", page_kit.tiny_run(root))


def run(folder, *command):
  done = subprocess.run(
    [sys.executable, "-m", *command],
    cwd=folder,
    env=page_commands.environment(folder, devices=1),
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return done.stdout


def test_finetune_folder(folder):
  made = folder / "bases/tiny"
  command = [f"--run={folder / 'runs/quickstart'}", f"--out={made}"]
  assert convert.main(["import", *command]) == 0
  assert base.info(made).parts["llama"].dim == 16
  options = (
    "--sounds=sounds",
    "--base=bases/tiny",
    "--out=runs/mine",
    "--variant=whole",
  )
  command = ("examples.finetune_folder", *options, "--steps=2")
  printed = run(folder, *command).splitlines()
  # The fourth clip of each class, and no other, is asked about.
  asked = [x for x in printed if x.startswith(("right", "wrong"))]
  assert [line.split()[1].rstrip(":") for line in asked] == [
    f"sounds/{label}/3.wav" for label in page_kit.LABELS
  ]
  hits = sum(line.startswith("right") for line in asked)
  assert printed[-1].startswith(f"{hits} of 4 right")
  assert printed[-1].endswith("chance 0.25")
  linked = {p.name for p in (folder / "runs/mine/learn").rglob("*.wav")}
  assert linked == {"0.wav", "1.wav", "2.wav"}


def test_export_and_evaluate(folder):
  options = ("--workdir=runs/quickstart", "--out=bundles/tiny")
  printed = run(folder, "examples.export_and_evaluate", *options)
  # Exact, constrained, and constrained by the token, three times.
  assert printed.count("openaqa/mini: which sound") == 9
  page = (folder / "bundles/tiny/report/index.html").read_text()
  for name in ("as_trained", "int8", "int4"):
    assert name in page
