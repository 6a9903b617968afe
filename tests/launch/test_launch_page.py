"""The commands of docs/tpu.md, and the words that the launcher waits for."""

import inspect
import pathlib
import shlex

import pytest

import gcloud_stand_in
import tpu_page
from launch import on_worker, tpu_vm

_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def env(tmp_path, monkeypatch):
  (tmp_path / "tpu.env").write_text(tpu_page.env())
  monkeypatch.chdir(tmp_path)


def test_every_command_runs_dry_and_is_gcloud_s(env, capsys):
  commands = tpu_page.commands("python -m launch.tpu_vm")
  verbs = {command.split()[3] for command in commands}
  assert verbs == {"up", "status", "logs", "ssh", "stop", "delete"}
  for command in commands:
    assert (
      tpu_vm.main(
        [*shlex.split(command)[3:4], "--dry-run", *shlex.split(command)[4:]]
      )
      == 0
    )
    lines = capsys.readouterr().out.splitlines()
    words = [shlex.split(line) for line in lines]
    calls = [call[1:] for call in words if call[:1] == ["gcloud"]]
    assert calls
    for call in calls:
      _, positionals, flags = gcloud_stand_in.parse(call)
      assert positionals[0].startswith(("ltu-stage4", "/"))
      assert flags["zone"] == "us-west4-a"


def test_its_other_commands_are_gcloud_s():
  for command in tpu_page.commands("gcloud"):
    if not command.startswith("gcloud auth"):
      gcloud_stand_in.parse(shlex.split(command)[1:])
  for command in tpu_page.commands("python -m ltu_jax"):
    for word in shlex.split(command):
      flag, _, value = word.partition("=")
      if flag == "--config":
        assert (_ROOT / value.partition(":")[0]).exists()


def test_the_run_says_what_the_launcher_waits_for(monkeypatch, capsys):
  from ltu_jax import main, stop, train

  def stopped(*args):
    raise stop.Stopped("SIGTERM: stopped")

  assert on_worker.FINISHED.search(
    inspect.getsource(train.run).partition('print(f"')[2]
  )
  monkeypatch.setattr(train, "run", stopped)
  main.train_run(None, "x")
  assert on_worker.STOPPED in capsys.readouterr().out
