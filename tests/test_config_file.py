"""Which file --config takes, and what config files import."""

import pathlib
import subprocess
import sys

import pytest
from absl import flags

from ltu_jax import config_file, config_flag

# ml_collections loads a file in a way that Python will take away.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """The folder that a command is started in; `configs` is not yet imported."""
  monkeypatch.chdir(tmp_path)
  names = [n for n in sys.modules if n.partition(".")[0] == "configs"]
  for name in names:
    monkeypatch.delitem(sys.modules, name)
  yield tmp_path
  for name in [n for n in sys.modules if n.partition(".")[0] == "configs"]:
    del sys.modules[name]  # monkeypatch then puts back what was there


def load(monkeypatch, *line):
  values, argv = flags.FlagValues(), ["train", *line]
  # Where ml_collections looks for the fields that are set.
  monkeypatch.setattr(sys, "argv", argv)
  config_flag.define(values)
  config_flag.parse(argv, values)
  return config_flag.config(values.config), config_flag.file(values)


@pytest.mark.parametrize("is_package", [True, False])
def test_ours_is_taken_from_any_folder(folder, monkeypatch, is_package):
  if not is_package:  # as with a wheel, of which no part is named configs
    monkeypatch.setattr(
      sys,
      "path",
      [p for p in sys.path if not (pathlib.Path(p) / "configs").exists()],
    )
  line = ("--config=configs/stage4.py:tiny", "--config.seed=7")
  config, file = load(monkeypatch, *line)
  assert (config.seed, config.data.max_tokens) == (7, 24)
  assert file == f"{ROOT}/configs/stage4.py:tiny"


@pytest.mark.parametrize("name", ["configs", "settings"])
def test_ones_own_file_imports_ours(folder, monkeypatch, name):
  own = folder / name
  own.mkdir()
  (own / "mine.py").write_text(
    "from configs import published\n"
    "def get_config():\n"
    "  config = published.get_config('tiny')\n"
    "  config.seed = 11\n"
    "  return config\n"
  )
  config, file = load(monkeypatch, "--config", f"{name}/mine.py")
  assert (config.seed, config.data.max_tokens) == (11, 24)
  assert file == str(own / "mine.py")


def test_ones_own_goes_before_ours(folder, monkeypatch):
  own = folder / "configs"
  own.mkdir()
  text = "import ml_collections\n"
  text += "def get_config():\n  return ml_collections.ConfigDict({'seed': %d})"
  (own / "base.py").write_text(text % 5)
  (own / "mine.py").write_text("from configs.base import get_config")
  config, _ = load(monkeypatch, "--config=configs/mine.py")
  assert config.to_dict() == {"seed": 5}


def test_ours_imports_ours(folder, monkeypatch):
  """A base.py of another project in the same folder is not mixed in."""
  (folder / "configs").mkdir()
  (folder / "configs" / "base.py").write_text("raise SystemExit('not ours')")
  config, _ = load(monkeypatch, "--config=configs/stage4.py:tiny")
  assert config.data.max_tokens == 24


def test_a_missing_file_has_the_name_that_was_given(folder, monkeypatch):
  with pytest.raises(config_flag.FlagError, match=r"configs/nope\.py"):
    load(monkeypatch, "--config=configs/nope.py")


def test_only_the_name_configs_stands_for_ours(folder):
  for name in ("stage4.py", "other/stage4.py", "../configs/stage4.py", ""):
    assert config_file.find(name) == folder / name


_IMPORTS = """
import sys
import %s
heavy = ("jax", "tensorflow", "flax", "orbax", "grain", "torch")
print(*[name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize("module", ["ltu_jax", "tfds_builders"])
def test_an_import_brings_neither_jax_nor_tensorflow(module):
  found = subprocess.run(
    [sys.executable, "-c", _IMPORTS % module],
    capture_output=True,
    text=True,
    cwd=ROOT,
    check=True,
  )
  assert found.stdout.split() == []
