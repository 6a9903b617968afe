"""Google's own gcloud: its parser, and all of it against a made-up service.

Needs the Google Cloud CLI on PATH, and ssh-keygen. It is given an empty folder
of configuration, a token that is none, and addresses of this machine.
"""

import json
import shutil
import subprocess

import pytest

import gcloud_stand_in
import tpu_api
import tpu_page
from launch import tpu_vm

pytestmark = pytest.mark.slow

_REFERENCE = json.loads(gcloud_stand_in._REFERENCE.read_text())

_SSH = """#!/bin/sh
# What gcloud asks of ssh, carried out by a shell here.
while [ "${1#*@}" = "$1" ]; do shift; done
worker=$((${1##*.} - 2)); shift
[ "$1" = "--" ] && shift
HOME="$CLOUD/homes/ltu/$worker"; export HOME; mkdir -p "$HOME"; cd "$HOME"
PATH="$CLOUD/worker_bin:/usr/bin:/bin" exec bash -c "$*"
"""

_SCP = """#!/bin/sh
for to; do from="$last"; last="$to"; done
address="${to%%:*}"; home="$CLOUD/homes/ltu/$((${address##*.} - 2))"
mkdir -p "$home" && cp "$from" "$home/${to#*:}"
"""

_SSH_ADD = """#!/bin/sh
exec ssh-keygen -lf "$HOME/.ssh/google_compute_engine"
"""


@pytest.fixture
def gcloud(tmp_path, monkeypatch):
  """The program; it can reach nothing but this machine."""
  program = shutil.which("gcloud")
  assert program, "install the Google Cloud CLI for this test"
  config = tmp_path / "config"
  config.mkdir()
  for key, value in {
    "CONFIG": str(config),
    "CORE_DISABLE_USAGE_REPORTING": "1",
    "CORE_CHECK_GCE_METADATA": "false",
    "COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
  }.items():
    monkeypatch.setenv(f"CLOUDSDK_{key}", value)
  monkeypatch.setenv("HOME", str(tmp_path))
  return program


def _lint(gcloud, commands, tmp_path):
  """What gcloud's parser says of each command, and the command's arguments."""
  file = tmp_path / "commands.json"
  rows = [{"command_string": c, "id": i} for i, c in enumerate(commands, 1)]
  file.write_text(json.dumps(rows))
  words = [gcloud, "meta", "lint-gcloud-commands", f"--commands-file={file}"]
  told = subprocess.run(words, check=True, capture_output=True).stdout
  return {one["command_string"]: one for one in json.loads(told)}


def _arguments(nodes):
  """All arguments in the parser's tree."""
  for node in nodes:
    if "group" in node:
      yield from _arguments(node["group"]["arguments"])
    else:
      yield node


def test_the_table_is_the_parser_s(gcloud, tmp_path):
  names = [name for name in _REFERENCE if name.startswith("gcloud")]
  told = _lint(gcloud, names, tmp_path)
  assert len(told) == len(names)
  for name, one in told.items():
    all_of_it = list(_arguments(one["args_structure"]["arguments"]))
    mine = [a for a in all_of_it if not a.get("global")]
    row = _REFERENCE[name]
    assert row["positionals"] == [a["name"] for a in mine if "positional" in a]
    flags = [a for a in mine if "positional" not in a]
    switches = {a["name"] for a in flags if a["type"] == "bool"}
    assert set(row["switches"]) == switches, name
    assert set(row["values"]) == {a["name"] for a in flags} - switches, name


def test_the_parser_takes_all_that_is_printed(gcloud, tmp_path, capsys):
  commands = []
  for argv in _dry_runs():
    assert tpu_vm.main(argv) == 0
    commands += capsys.readouterr().out.splitlines()
  page = tpu_page.commands("gcloud")
  commands += [command for command in page if "gcloud auth" not in command]
  commands = [c for c in commands if c.startswith("gcloud ")]
  told = _lint(gcloud, commands, tmp_path)
  assert len(told) == len(set(commands)) > 20
  for command, one in told.items():
    assert one["success"], f"{command}: {one['error_message']}"
  bad = "gcloud compute tpus tpu-vm delete x --zone=z --force"
  assert not _lint(gcloud, [bad], tmp_path)[bad]["success"]


def _dry_runs():
  machine = ["--project=p", "--zone=us-central2-b", "--name=n", "--dry-run"]
  every = ["--spot", "--network=n", "--subnetwork=s", "--service-account=a@b.c"]
  every += ["--internal-ips", "--bucket=abc", "--type=v4-16"]
  main = ["--", "--config=configs/stage4.py", "--config.note=a 'b' $c"]
  for queued in ([], ["--queued-resource"]):
    yield ["up", *machine, *every, *queued, *main]
  for verb in ("status", "logs", "stop", "ssh", "delete"):
    yield [verb, *machine, *every]
  yield ["ssh", *machine, "--worker=all", "--", "df", "-h", "a b"]


def test_a_run_through_google_s_own_program(
  gcloud, cloud, tmp_path, monkeypatch, capfd
):
  """Nothing is played but the service and sshd."""
  api = tpu_api.TpuApi()
  for name, text in {"ssh": _SSH, "scp": _SCP, "ssh-add": _SSH_ADD}.items():
    path = cloud.folder / "bin" / name
    path.write_text(text)
    path.chmod(0o755)
  (cloud.folder / "bin" / "gcloud").unlink()
  (tmp_path / "token").write_text("none")
  base = f"http://127.0.0.1:{api.port}"
  for key, value in {
    "AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "token"),
    "API_ENDPOINT_OVERRIDES_TPU": f"{base}/",
    "API_ENDPOINT_OVERRIDES_COMPUTE": f"{base}/compute/v1/",
  }.items():
    monkeypatch.setenv(f"CLOUDSDK_{key}", value)
  monkeypatch.setenv("CLOUD", str(cloud.folder))
  flags = ["--queued-resource", "--spot"]
  hard = '--config.note=it\'s $HOME  `id` "x" \\'

  api.refuse = {"POST /v2": (429, "RESOURCE_EXHAUSTED", "Quota limit 'X'")}
  assert cloud("create", *flags) == 2
  assert "Ask for quota" in capfd.readouterr().err
  api.refuse = {"GET /v2": (403, "PERMISSION_DENIED", "Permission denied on x")}
  assert cloud("status", *flags) == 2
  assert "roles/tpu.admin" in capfd.readouterr().err
  api.refuse = {}
  story = iter([lambda: cloud.wait_starts(1), lambda: _finish(cloud)])
  sleep = lambda seconds: next(story)()
  up = ["--keep-alive", *flags]
  assert cloud.run("up", hard, flags=up, sleep=sleep) == 0, capfd.readouterr()
  assert cloud.told(1)["argv"][2:] == [hard]
  posted = [r for r in api.requests if r[0] == "POST" and "Id=ltu" in r[1]]
  body = posted[-1][2]
  node = body["tpu"]["nodeSpec"][0]["node"]
  assert node["acceleratorType"] == "v4-16"
  assert node["runtimeVersion"] == "tpu-ubuntu2204-base"
  assert "spot" in body
  assert cloud("status", *flags) == 0
  out = capfd.readouterr().out
  assert "machine READY, 2 worker(s)" in out and "run: finished" in out
  assert cloud("delete", *flags) == 0 and cloud("delete", *flags) == 0
  assert not api.nodes and not api.queued
  assert "ltu is not there" in capfd.readouterr().err
  monkeypatch.delenv("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE")
  assert cloud("create", *flags) == 2
  assert "log in: gcloud auth login" in capfd.readouterr().err
  api.close()


def _finish(cloud):
  (cloud.workdir / "go").touch()
  cloud.wait_ended()
