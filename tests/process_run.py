"""Starts real processes of the training command on a tiny run; no test."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import xla_flags

ROOT = pathlib.Path(__file__).parents[1]

# Run in each process: main, with the tiny config in place of --config.
_CODE = """
import json, sys
sys.path[:0] = [{tests!r}]
from absl import app, logging
from ltu_jax import main
from tiny_run import tiny
import pathlib
changes = json.loads(sys.argv.pop())
config = tiny(pathlib.Path(sys.argv.pop()))
config.unlock()
config.stages = {{"stage2": config.stages.stage2.to_dict()}}
config.update_from_flattened_dict(changes)
logging.set_verbosity(logging.ERROR)
{before}
def run(argv):
  main.join_processes()
  main.train_run(config, main._WORKDIR.value)
app.run(run)
"""


def free_port() -> int:
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1]


def environment(devices) -> dict[str, str]:
  flags = xla_flags.quick(devices)
  return os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def start(
  sounds, workdir, processes, devices, changes=None, before="", flags=()
) -> list[subprocess.Popen]:
  """Starts `processes` processes of `devices` fake devices each."""
  env = environment(devices)
  code = _CODE.format(tests=str(ROOT / "tests"), before=before)
  port = free_port()
  started = []
  for process in range(processes):
    join = (
      f"--coordinator=127.0.0.1:{port}",
      f"--num_processes={processes}",
      f"--process_id={process}",
    )
    started.append(
      subprocess.Popen(
        [
          sys.executable,
          "-c",
          code,
          f"--workdir={workdir}",
          *(join if processes > 1 else ()),
          *flags,
          str(sounds),
          json.dumps(changes or {}),
        ],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    )
  return started


def finish(started, timeout=500) -> list[tuple[int, str, str]]:
  """(status, stdout, stderr) of each; none is left running."""
  try:
    found = [process.communicate(timeout=timeout) for process in started]
  finally:
    for process in started:
      process.kill()
  return [
    (process.returncode, out, err)
    for process, (out, err) in zip(started, found, strict=True)
  ]


def lines(workdir) -> list[dict]:
  return [json.loads(x) for x in (workdir / "metrics.jsonl").open()]
