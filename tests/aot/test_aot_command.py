"""The command line: no compiler is needed for it."""

import pathlib
import subprocess
import sys

import pytest
from absl import flags

from ltu_jax import config_flag
from ltu_jax import main as train_main
from ltu_jax.aot import __main__ as aot_main
from ltu_jax.aot import command

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = "--config=configs/stage4.py:tiny"


def aot(*arguments: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, "-m", "ltu_jax.aot", *arguments],
    capture_output=True,
    text=True,
    cwd=ROOT,
    check=False,
  )


def test_both_commands_are_imported_in_one_process():
  """Each has a --config; training's is the one of absl's own flags."""
  assert "workdir" in flags.FLAGS and train_main and aot_main
  assert "topology" not in flags.FLAGS


@pytest.fixture
def parse(monkeypatch):
  """Reads a command line into flags of its own."""

  def parse(*arguments):
    values = flags.FlagValues()
    aot_main.define_flags(values)
    line = ["aot", *arguments]
    # Where ml_collections looks for the fields that are set.
    monkeypatch.setattr(sys, "argv", line)
    return config_flag.parse(line, values), values

  return parse


def test_flags_of_the_config_are_read(parse):
  rest, values = parse(
    CONFIG, "--config.data.batch_size=16", "--topology=v5e:2x2"
  )
  assert rest == ["aot"]
  assert values.config.data.batch_size == 16
  assert (values.topology, values.slices) == ("v5e:2x2", 1)


def test_the_table_has_the_fields_that_are_set(parse, monkeypatch):
  found = {}
  monkeypatch.setattr(
    command.table, "lines", lambda configs: found.update(configs) or []
  )
  line = (CONFIG, "--config.data.batch_size=16", "--table=tiny,13b")
  command.run(*parse(*line))
  assert [c.model.llama.layers for c in found.values()] == [2, 40]
  assert {c.data.batch_size for c in found.values()} == {16}
  assert list(found) == ["TINY", "13B"]


def test_help():
  done = aot("--help")
  assert "--topology" in done.stdout and "configs/stage4.py" in done.stdout
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
  "line, words",
  [
    ([], ["--config is missing", "configs/stage4.py"]),
    ([CONFIG], ["--topology is missing", "v5e:4x4"]),
    ([CONFIG, "v5e:2x2"], ["unknown arguments ['v5e:2x2']"]),
    ([CONFIG, "--topolgy=v5e:2x2"], ["topolgy", "topology"]),
    ([CONFIG, "--topology=v9:2x2"], ["v9:2x2", "v5e:AxB"]),
    ([CONFIG, "--topology=v5e:2x2", "--slices=0"], ["one slice or more"]),
    ([CONFIG, "--topology=v5e:2x2", "--batch=0"], ["must be 1 or more"]),
    ([CONFIG, "--topology=v5e:2x2", "--batch=x"], ["batch", "x"]),
    ([CONFIG, "--topology=v5e:2x2", "--mesh=fsdp0"], ["--mesh=fsdp0"]),
    ([CONFIG, "--topology=v5e:2x2", "--stage=3"], ["--stage=3", "[4]"]),
    ([CONFIG, "--config.data.batchsize=3"], ["batchsize", '"batch_size"']),
    (["--config=configs/no.py", "--topology=v5e:2x2"], ["configs/no.py"]),
    ([CONFIG, "--table=7c"], ["7c", "7b, 13b"]),
  ],
)
def test_a_wrong_command_is_one_line(parse, line, words):
  with pytest.raises(command.USER_ERRORS) as found:
    command.run(*parse(*line))
  message = str(found.value)
  assert "\n" not in message
  for word in words:
    assert word in message


def test_an_error_has_no_traceback():
  done = aot(CONFIG, "--topology=v9:2x2")
  assert done.returncode == 2
  assert "Traceback" not in done.stderr
  last = done.stderr.strip().splitlines()[-1]
  assert last.startswith("error: --topology=v9:2x2")
