"""Traces of training steps, as xprof reads them; goodput of a real run."""

import json
import re
import signal
import subprocess
import sys
import time

import jax
import pytest
from xprof.convert import raw_to_tool_data

import made_up_run
import process_run
from ltu_jax import config_check, goodput, profiling
from ltu_jax.config import ConfigError


def steps_of(files) -> list[int]:
  """Numbers of the steps that xprof's trace viewer shows."""
  text, _ = raw_to_tool_data.xspace_to_tool_data(files, "trace_viewer", {})
  events = json.loads(text)["traceEvents"]
  names = [event.get("args", {}).get("step_name", "") for event in events]
  begin = f"{profiling.ANNOTATION} "
  return sorted({int(x.removeprefix(begin)) for x in names if begin in x})


def traces(workdir) -> list[str]:
  folder = workdir / profiling.FOLDER / "plugins" / "profile"
  return sorted(map(str, folder.glob("*/*.xplane.pb")))


def test_which_steps():
  assert profiling.parse("") is None
  assert profiling.parse("10:15") == range(10, 16)
  assert profiling.parse("3:3") == range(3, 4)


@pytest.mark.parametrize(
  "steps, stage, words",
  [
    ("15:10", -1, "profile.steps is '15:10'; it must be FIRST:LAST"),
    ("0:3", -1, "two step numbers from 1 on, such as 10:15"),
    ("10", -1, "profile.steps is '10'"),
    ("-3:4", -1, "profile.steps is '-3:4'"),
    ("1:2", 7, r"profile.stage is 7; the stages are \[1, 4\]"),
    ("7:9", 4, "profile.steps is 7:9; stage 4 ends with step 6"),
    ("1:2", -2, "profile.stage is -2"),
  ],
)
def test_nonsense_is_refused(steps, stage, words):
  config = made_up_run.config(profile__steps=steps, profile__stage=stage)
  with pytest.raises(ConfigError, match=words) as told:
    config_check.check(config, 1)
  assert len(str(told.value).splitlines()) == 1


def test_steps_that_are_done_are_told(tmp_path):
  said = []
  asked = {"steps": "3:5", "stage": -1}
  profile = profiling.Profile(tmp_path, asked, said.append)
  profile.begin(2, 3, 10)
  assert not profile.starts(2, 3) and not list(tmp_path.iterdir())
  assert said == [
    "stage 2: config.profile.steps 3:5 are not traced: this start goes from"
    " step 4 to 10"
  ]


def test_a_trace_does_not_stay_open(tmp_path, capsys):
  """A run that ends in it writes what there is."""
  said = []
  asked = {"steps": "1:9", "stage": 1}
  profile = profiling.Profile(tmp_path, asked, said.append)
  profile.begin(0, 0, 10)
  assert not profile.starts(0, 1)
  profile.begin(1, 0, 10)
  assert profile.starts(1, 1) and not profile.starts(1, 2)
  profile.start()
  with profile.step(1):
    jax.block_until_ready(jax.jit(lambda x: x + 1)(1.0))
  assert not profile.ends(1) and profile.ends(9)
  profile.stop()
  (file,) = traces(tmp_path)
  assert steps_of([file]) == [1]
  assert re.search(r"Z-stage1-steps1-9/[^/]+-0\.xplane\.pb$", file)
  assert re.search(
    r"traced \w+-stage1-steps1-9: look at it with xprof", said[0]
  )
  profile.stop()  # once
  with jax.profiler.trace(tmp_path / "other"):
    pass  # raises where another is open
  # A disk that is full ends no run.
  (tmp_path / "file").write_text("")
  lost = profiling.Profile(tmp_path / "file", asked, said.append)
  lost.begin(1, 0, 10)
  lost.start()
  lost.stop()
  assert "the trace cannot be written" in capsys.readouterr().err


CODE = """
import sys
sys.path[:0] = ["tests"]
import made_up_run
from ltu_jax import train
config = made_up_run.config((4,), checkpoint_every=4, profile__steps="9:10")
config.stages.stage4.steps = 12
train.run(config, sys.argv[1])
"""


def start(workdir) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, "-c", CODE, str(workdir)],
    cwd=process_run.ROOT,
    env=process_run.environment(1) | {"PYTHONPATH": str(process_run.ROOT)},
    stdout=subprocess.PIPE,
    text=True,
  )


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
  """A run that was killed after step 7, and went on; its goodput when dead."""
  workdir = tmp_path_factory.mktemp("killed")
  begun = time.time()
  process = start(workdir)
  for line in process.stdout:
    if "step 7/" in line:
      break
  process.send_signal(signal.SIGKILL)
  process.communicate()
  first = goodput.read(workdir)
  time.sleep(1)
  process = start(workdir)
  out, _ = process.communicate()
  assert process.returncode == 0
  assert "going on at step 4" in out
  return workdir, first, time.time() - begun


@pytest.mark.slow
def test_goodput_of_a_run_that_was_killed(killed):
  workdir, first, seconds = killed
  assert first.starts == 1 and first.total()["redone"] == 0
  found = goodput.read(workdir)
  total = found.total()
  assert found.starts == 2
  # Times are written to a ten-thousandth of a second, in some 20 lines.
  assert sum(total.values()) == pytest.approx(found.wall, abs=0.01)
  assert first.wall < found.wall < seconds
  assert total["down"] > 1
  kinds = ("steps", "compile", "startup", "save", "profile")
  assert all(total[kind] > 0 for kind in kinds)
  # The last thing that is written, but for what is said.
  assert (workdir / "metrics.jsonl").stat().st_mtime <= found.spans[-1].end
  assert goodput.main([str(workdir)]) == 0


@pytest.mark.slow
def test_a_run_is_traced(killed):
  workdir, *_ = killed
  files = traces(workdir)
  assert steps_of(files) == [9, 10]
  # xprof lays the programs beside the trace, with each operation's name.
  raw_to_tool_data.xspace_to_tool_names(files)
  (step,) = (workdir / profiling.FOLDER).rglob("jit_step*.hlo_proto.pb")
  names = step.read_bytes()
  for part in (b"fbank", b"encoder", b"projector", b"decoder", b"loss"):
    assert re.search(rb"/(jvp\()?%s\)?/" % part, names), part
  assert b"/update/" in names
