"""A run on two made-up workers: the shell commands are carried out here."""

import json
import subprocess
import threading

import pytest

_HARD = (
  '--config.note=it\'s $HOME `id` "x"  two  spaces; & | > * \\ \u00e4',
  "--config.empty=",
  "--config.lines=a\nb",
)
"""What a shell would change, were it not quoted."""


def test_from_nothing_to_stopped_and_on(cloud, capfd):
  assert cloud.run("up", *_HARD, flags=["--set=SET=a b$"]) == 0
  for worker in (0, 1):
    cloud.wait(f"told{worker}")
    told = cloud.told(worker)
    assert told["argv"][2:] == list(_HARD)
    assert told["argv"][1] == f"--workdir={cloud.workdir}"
    assert told["set"] == "a b$"
    assert "--editable .[tpu]" in (cloud.home(worker) / "pip").read_text()
  assert "JAX sees 8 devices" in capfd.readouterr().out

  # All again: nothing is made or started twice.
  assert cloud("create") == 0
  assert cloud.run("run", *_HARD) == 2  # other words: not the run that is on
  assert "a run is going on" in capfd.readouterr().err
  assert cloud.run("run", *_HARD, flags=["--set=SET=a b$"]) == 0
  assert "runs already" in capfd.readouterr().out
  assert cloud("sync") == 2 and cloud("install") == 2
  assert len(cloud.calls("tpu-vm create")) == 1
  assert cloud.starts() == 1

  assert cloud("status") == 0
  out = capfd.readouterr().out
  assert "machine READY, 2 worker(s)" in out
  assert "run: running (2 running)" in out
  # systemd follows its SIGTERM with SIGHUP, which must not be a second one.
  assert "training with SIGHUP ignored" in out

  # The second `stop` comes while the first one's save goes on.
  first = threading.Thread(target=cloud, args=("stop",))
  first.start()
  cloud.wait(cloud.home(0) / "ltu_jax_run" / "stopping")
  cloud.wait(cloud.home(1) / "ltu_jax_run" / "stopping")
  assert cloud("stop") == 0
  first.join()
  assert cloud.wait("saved0") and cloud.wait("saved1")
  assert cloud("status") == 0
  assert "run: stopped" in capfd.readouterr().out
  assert cloud("stop") == 0
  assert "nothing runs" in capfd.readouterr().out

  # The same again goes on, and ends by itself; the log is followed to there.
  assert cloud.run("run") == 0
  cloud.wait_starts(2)
  following = threading.Thread(target=cloud, args=("logs",))
  following.start()
  (cloud.workdir / "go").touch()
  following.join(20)
  assert not following.is_alive()
  out = capfd.readouterr().out
  assert out.count("training") == 2 and "Go on with:" in out
  assert out.rstrip().endswith("finished in 3 s\n[finished]")
  cloud.wait_ended()
  assert cloud("status") == 0
  assert "run: finished (1 ended, 1 finished)" in capfd.readouterr().out

  assert cloud("delete") == 0 and cloud("delete") == 0
  assert len(cloud.calls("tpu-vm delete")) == 1
  assert not cloud.home(0).exists()


def test_sync_sends_what_git_does_not_ignore(cloud):
  assert cloud("create") == 0
  (cloud.checkout / "runs").mkdir()
  for name in ("new file.py", "gone.py", "runs/ignored"):
    (cloud.checkout / name).write_text("1")
  (cloud.checkout / "link").symlink_to("new file.py")
  git = ["git", "-c", "user.name=n", "-c", "user.email=e"]
  subprocess.run([*git, "add", "-A"], cwd=cloud.checkout, check=True)
  subprocess.run([*git, "commit", "-qm", "x"], cwd=cloud.checkout, check=True)
  (cloud.checkout / "untracked.py").write_text("1")
  assert cloud("sync") == 0

  source = cloud.home(1) / "ltu_jax"
  assert (source / "gone.py").exists() and (source / "untracked.py").exists()
  assert (source / "link").is_symlink()
  assert not (source / "runs").exists()
  (source / "runs").mkdir()
  (source / "runs" / "mine").write_text("checkpoints")
  (cloud.checkout / "gone.py").unlink()
  (cloud.checkout / "new file.py").write_text("2")
  assert cloud("sync") == 0
  assert not (source / "gone.py").exists()
  assert (source / "new file.py").read_text() == "2"
  assert (source / "runs" / "mine").read_text() == "checkpoints"


def test_a_start_that_fails_is_seen(cloud, capfd):
  assert cloud("create") == 0 and cloud("sync") == 0
  # Not installed: the environment's Python is not there.
  assert cloud.run("run") == 0
  cloud.wait_ended()
  assert cloud("status") == 0
  assert "run: failed (2 failed)" in capfd.readouterr().out
  (cloud.folder / "stubs" / "n").write_text("4")
  assert cloud("install") == 2
  assert "JAX sees 4 of 8 devices" in capfd.readouterr().err


@pytest.mark.slow
def test_a_killed_run_and_a_used_process_number(cloud, capfd):
  assert cloud.run("up") == 0
  cloud.wait_starts(1)
  cloud.kill()
  assert cloud("status") == 0
  assert "run: lost (2 lost)" in capfd.readouterr().out
  # After a reboot another process may have the number.
  paper = cloud.home(0) / "ltu_jax_run" / "process"
  paper.write_text(json.dumps({"id": 1, "began": 123}))
  assert cloud("stop") == 0
  assert cloud.run("run") == 0
  (cloud.workdir / "go").touch()
  cloud.wait_ended()
