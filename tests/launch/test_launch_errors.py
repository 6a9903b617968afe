"""What goes wrong on Google's side; the words are those of gcloud 528."""

import os
import pathlib

import pytest

from launch import checkout, gcloud, settings


@pytest.mark.parametrize(
  ("says", "advice"),
  [
    (
      "You do not currently have an active account selected.\nPlease run:\n\n"
      "  $ gcloud auth login\n\nto obtain new credentials.",
      "log in: gcloud auth login",
    ),
    (
      "RESOURCE_EXHAUSTED: Quota limit 'TPUV4sPodPerProjectPerZoneForTPUAPI'"
      " has been exceeded. Limit: 0 in zone us-central2-b.",
      "Ask for quota",
    ),
    (
      '{\n  "code": 8,\n  "message": "There is no more capacity in the zone'
      ' \\"us-central2-b\\"; you can try in another zone"\n}',
      "--queued-resource",
    ),
    (
      "PERMISSION_DENIED: Cloud TPU API has not been used in project p before"
      " or it is disabled.",
      "gcloud services enable tpu.googleapis.com",
    ),
    (
      "PERMISSION_DENIED: Permission 'tpu.nodes.create' denied on 'x'",
      "roles/tpu.admin",
    ),
  ],
)
def test_what_google_refuses_comes_with_what_to_do(cloud, says, advice, capfd):
  cloud.fault("tpu-vm create", says)
  assert cloud("create") == 2
  error = capfd.readouterr().err.split("error: ")[1]
  assert "gcloud compute tpus tpu-vm create` ended with status 1" in error
  assert says.splitlines()[-1] in error and advice in error


def test_no_gcloud(cloud, monkeypatch, capfd):
  monkeypatch.setenv("PATH", os.path.dirname(os.__file__))
  for verb in ("status", "ssh"):
    assert cloud(verb) == 2
    assert "gcloud is not installed; see https" in capfd.readouterr().err


def test_ssh_that_fails_once(cloud, capfd):
  cloud("create")
  waits = []
  cloud.fault("tpu-vm ssh", "[/usr/bin/ssh] exited with return code [255].")
  assert cloud("stop", sleep=waits.append) == 2  # nothing was sent there yet
  assert waits == [10]
  assert "No such file" in capfd.readouterr().err


def test_one_worker_down(cloud, capfd):
  assert cloud.run("up") == 0
  with cloud.state() as state:
    state["down"] = [1]
  assert cloud("status") == 0
  out = capfd.readouterr().out
  assert "run: unreachable (1 running)" in out
  assert "could not be reached by ssh" in out
  assert cloud("stop", sleep=lambda s: None) == 2


def test_the_words_of_a_program_are_not_google_s():
  """A run that speaks of quota has not met Google's."""
  program = ["bash", "-c", "echo 'error: disk quota' >&2; exit 3"]
  with pytest.raises(gcloud.GcloudError, match="status 3: error: disk") as told:
    gcloud.Gcloud(settings.Settings()).run(program)
  assert not told.value.kind
  crash = "ERROR: gcloud crashed (ConnectionError): HTTPConnectionPool(host="
  program = ["bash", "-c", f"echo '{crash}' >&2; exit 1"]
  with pytest.raises(gcloud.GcloudError, match="a way to Google"):
    gcloud.Gcloud(settings.Settings()).run(program)


def test_a_machine_that_is_gone_or_half_there(cloud, capfd):
  with cloud.state() as state:
    state["nodes"]["ltu"] = {"state": "PREEMPTED"}
  assert cloud("create") == 2
  assert "machine PREEMPTED" in capfd.readouterr().err
  with cloud.state() as state:
    state["queued"]["ltu"] = {
      "state": {
        "state": "FAILED",
        "failedData": {"error": {"message": "no reservation"}},
      }
    }
  assert cloud("status") == 0
  assert "request FAILED; machine PREEMPTED" in capfd.readouterr().out
  # Something else deletes it at the same time.
  cloud.fault("queued-resources delete", "NOT_FOUND: was not found")
  assert cloud("delete") == 0


def test_a_checkout_that_is_none_or_too_large(cloud, monkeypatch, capfd):
  monkeypatch.setattr(checkout, "_MOST_BYTES", 1000)
  (cloud.checkout / "big").write_bytes(bytes(900))
  assert cloud("sync") == 2
  assert "most in" in capfd.readouterr().err
  monkeypatch.setattr(checkout, "ROOT", pathlib.Path("/proc"))
  assert cloud("sync") == 2
  assert "not a git repository" in capfd.readouterr().err


def test_ssh_gives_the_command_s_own_status(cloud, capfd):
  cloud("create")
  words = ["sh", "-c", 'echo "$0" "it\'s"; exit 7', "a  b"]
  assert cloud("ssh", "--worker=1", "--", *words) == 7
  assert capfd.readouterr().out == "a  b it's\n"
