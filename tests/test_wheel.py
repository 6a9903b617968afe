"""A wheel is whole: built, installed, and used from an empty folder."""

import configparser
import json
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest

import golden_data
import ltu_jax
import xla_flags
from wav_bytes import wav

ROOT = pathlib.Path(__file__).parent.parent

COMMANDS = {
  "train": "main",
  "ask": "ask",
  "serve": "serve",
  "evaluate": "evaluate",
  "convert": "convert",
  "aqa": "aqa",
  "aot": "aot",
  "goodput": "goodput",
}
"""Console script, without "ltu-jax-" -> module of ltu_jax."""


def test_every_module_that_runs_is_a_command():
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  lines = config["options.entry_points"]["console_scripts"].split("\n")
  names = {line.split(" = ")[0] for line in lines if line}
  assert names == {f"ltu-jax-{name}" for name in COMMANDS}
  package = ROOT / "ltu_jax"
  modules = {path.parent.name for path in package.glob("*/__main__.py")}
  assert modules | {"main", "goodput"} == set(COMMANDS.values())


_HELP = """
import contextlib, io, runpy, sys
from ltu_jax import commands
for name in sys.argv[1:]:
  sys.argv = ["x", "--help"]
  told = io.StringIO()
  with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
    getattr(commands, name)()
  assert "python -m ltu_jax." in told.getvalue(), name
heavy = ("jax", "tensorflow", "flax", "orbax", "grain", "torch")
print(*[name for name in heavy if name in sys.modules])
"""


# train and aot both have a --config: not in one process.
@pytest.mark.parametrize("names", [["train"], [*COMMANDS][1:]], ids=len)
def test_help_needs_no_jax(names):
  found = subprocess.run(
    [sys.executable, "-c", _HELP, *names],
    capture_output=True,
    text=True,
    cwd=ROOT,
    check=False,
  )
  assert found.returncode == 0, found.stderr
  assert found.stdout.split() == []


def test_the_version_is_the_changelogs():
  newest = re.search(
    r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.M
  )
  assert newest[1] == ltu_jax.__version__


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  """Folder with sdist and wheel; the wheel is made from the sdist."""
  out = tmp_path_factory.mktemp("dist")
  build = [sys.executable, "-m", "build", "--outdir", out, ROOT]
  done = subprocess.run(build, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
  return out


def tracked(*folders):
  """What the repository has in folders, without what tests and builds leave."""
  return {
    path.relative_to(ROOT).as_posix()
    for folder in folders
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
  }


@pytest.mark.slow
def test_files(built):
  """Sdist and wheel have every file, of code and of data."""
  (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
  assert ltu_jax.__version__ in sdist.name and ltu_jax.__version__ in wheel.name
  packages = tracked("ltu_jax", "tfds_builders")
  ours = {f"ltu_jax/{name}" for name in tracked("configs")}
  with zipfile.ZipFile(wheel) as file:
    names = {n for n in file.namelist() if ".dist-info/" not in n}
  assert names == packages | ours
  with tarfile.open(sdist) as file:
    names = {m.name.partition("/")[2] for m in file if m.isfile()}
  others = (
    "configs",
    "tests",
    "benchmarks",
    "docs",
    "examples",
    "launch",
    ".ci",
  )
  assert names >= packages | tracked(*others)
  top = ("CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "setup.py")
  assert names >= {*top, "pyproject.toml"}


@pytest.fixture(scope="module")
def scripts(built, tmp_path_factory):
  """Folder of the console scripts of an environment with the wheel."""
  folder = tmp_path_factory.mktemp("installed")
  venv.create(folder, symlinks=True)
  scheme = {"base": str(folder), "platbase": str(folder)}
  site = pathlib.Path(sysconfig.get_path("purelib", vars=scheme))
  # It sees the packages of this environment; not those installed with -e, as
  # lines of files in a folder that a .pth names are not read.
  (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
  (wheel,) = built.glob("*.whl")
  pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python"]
  for arguments in (["install", "-q", "--no-deps", wheel], ["check"]):
    done = subprocess.run([*pip, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
  return folder / "bin"


@pytest.fixture
def run(scripts, tmp_path):
  """Runs a program of that environment in an empty folder."""
  variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
  # One device, not eight: less to compile.
  variables["XLA_FLAGS"] = xla_flags.quick()

  def run(program, *arguments, status=0):
    done = subprocess.run(
      [scripts / program, *arguments],
      cwd=tmp_path,
      env=variables,
      capture_output=True,
      text=True,
    )
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout if status == 0 else done.stderr

  return run


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_script_is_its_module(run, name):
  script = f"ltu-jax-{name}"
  # absl ends with status 1 after its help.
  status = 1 if name in ("train", "aot") else 0
  module = ("-m", f"ltu_jax.{COMMANDS[name]}", "--help")
  told = run("python", *module, status=status)
  assert run(script, "--help", status=status) == told
  assert run(script, "--version") == f"ltu_jax {ltu_jax.__version__}\n"


@pytest.mark.slow
def test_train_and_ask(run, scripts, tmp_path):
  tokenizer = golden_data.GOLDEN / "tiny_spm.model"
  out = run(
    "ltu-jax-train",
    "--config=configs/stage4.py:tiny",
    "--config.data.source=synthetic",
    "--config.model.llama.vocab=420",  # the tokenizer's, below
    "--workdir=run",
  )
  first = out.splitlines()[0]
  assert first.startswith(f"config: {scripts.parent}")
  assert first.endswith("/ltu_jax/configs/stage4.py:tiny")
  assert "stage 4  step 3/3" in out
  # Made-up batches are made of numbers: no run on them has a tokenizer.
  (tmp_path / "run" / "tokenizer.model").write_bytes(tokenizer.read_bytes())
  (tmp_path / "clip.wav").write_bytes(wav(1))
  line = ("--workdir=run", "--json", "clip.wav", "What can be heard?")
  answer = json.loads(run("ltu-jax-ask", *line))
  assert answer["audio"] == "clip.wav" and isinstance(answer["answer"], str)


@pytest.mark.slow
def test_ones_own_config_imports_ours(run, tmp_path):
  (tmp_path / "configs").mkdir()
  mine = "from configs.stage4 import get_config\n"
  (tmp_path / "configs" / "mine.py").write_text(mine)
  line = ("--config=configs/mine.py:tiny", "--config.data.batch_size=x")
  told = run("ltu-jax-train", *line, "--workdir=run", status=2)
  assert "config.data.batch_size" in told and "Traceback" not in told
