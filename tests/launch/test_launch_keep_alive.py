"""up --keep-alive: a run that goes on through what Google does to it."""

import pytest

from launch import keep_alive, run


class _Story:
  """What happens at each wait; a list of functions, each once."""

  def __init__(self, *events):
    self.events, self.waits = list(events), []

  def __call__(self, seconds):
    self.waits.append(seconds)
    assert len(self.waits) < 60, "it does not end"
    if self.events:
      self.events.pop(0)()


def _finish(cloud):
  (cloud.workdir / "go").touch()
  cloud.wait_ended()


def test_queued_preempted_without_capacity_and_finished(cloud, capfd):
  with cloud.state() as state:
    state["granted"] = False

  def grant():
    with cloud.state() as state:
      queued = state["queued"]["ltu"]
      queued["state"]["state"] = "ACTIVE"
      state["nodes"]["ltu"] = queued["node"]
      state["granted"] = True

  def preempt():
    cloud.wait_starts(1)
    cloud.fault("queued-resources create", "There is no more capacity", 2)
    with cloud.state() as state:
      state["queued"]["ltu"]["state"]["state"] = "SUSPENDED"
    cloud.take_away()
    (cloud.checkout / "later.py").touch()  # not of the run that was begun

  def look():
    cloud.wait_starts(2)
    assert not (cloud.home(0) / "ltu_jax" / "later.py").exists()

  nothing = lambda: None
  story = _Story(
    *(nothing, grant, nothing, preempt, nothing, nothing),
    *(look, lambda: _finish(cloud)),
  )
  flags = ["--keep-alive", "--queued-resource", "--spot"]
  assert cloud.run("up", flags=flags, sleep=story) == 0
  err = capfd.readouterr().err
  assert "request WAITING_FOR_RESOURCES; waiting" in err
  assert "the machine is lost: request SUSPENDED; machine PREEMPTED" in err
  assert err.count("Google has none free now") == 2
  assert "the run has finished" in err
  deleted = cloud.calls("delete")
  assert len(deleted) == 1 and "--force" in deleted[0]
  assert story.waits.count(900) == 2 and set(story.waits) == {30, 900}
  # The machine's places were given anew; the run's own words are the same.
  starts = [c for c in cloud.calls("tpu-vm ssh") if "start --" in c[-1]]
  assert len(starts) == 2 and starts[0] == starts[1]


def test_stopped_by_its_machine_it_starts_again_by_stop_it_does_not(
  cloud, capfd, monkeypatch
):
  monkeypatch.setattr(keep_alive, "_LEAVING_LOOKS", 1)

  def terminate():
    """As the system does at its end: all processes of the session."""
    cloud.wait_starts(1)
    assert cloud("ssh", "--worker=all", "--", *_TERMINATE) == 0
    cloud.wait_ended()

  def stop():
    cloud.wait_starts(2)
    assert cloud("stop") == 0

  story = _Story(terminate, lambda: None, stop)
  assert cloud.run("up", flags=["--keep-alive"], sleep=story) == 0
  err = capfd.readouterr().err
  assert "the machine has stayed; starting again on it" in err
  assert "it is not started again" in err
  assert cloud.starts() == 2
  assert len(cloud.calls("tpu-vm create")) == len(cloud.calls("install")) == 1
  # Both times it could save: it was told once.
  assert cloud.wait("saved0") and cloud.wait("saved1")


_TERMINATE = (
  "python3",
  "-c",
  "import json, os, pathlib, signal\n"
  "run = pathlib.Path.home() / 'ltu_jax_run' / 'process'\n"
  "os.killpg(os.getpgid(json.loads(run.read_text())['id']), signal.SIGTERM)",
)


@pytest.mark.slow
def test_what_stays_wrong_ends_it(cloud, capfd):
  def fail(status):
    cloud.wait_starts(1)
    (cloud.workdir / "status").write_text(str(status))
    cloud.wait_ended()

  story = _Story(lambda: fail(1), *[cloud.wait_ended] * 9)
  flags = ["--keep-alive", "--failures=3"]
  assert cloud.run("up", flags=flags, sleep=story) == 2
  assert story.waits == [30, 30, 30, 60, 30]  # look, wait, look, wait, look
  err = capfd.readouterr().err
  assert "3 failures in a row, the last: failed: error: it broke" in err
  assert cloud.starts() == 3
  # The machine is there, to look at; a user's error is not tried twice.
  (cloud.workdir / "status").write_text("2")
  assert cloud.run("up", flags=flags, sleep=_Story()) == 2
  assert "a new start does not mend: error: it" in capfd.readouterr().err
  assert cloud.starts() == 4
  cloud.fault("tpu-vm describe", "Quota limit has been exceeded.")
  assert cloud.run("up", flags=flags, sleep=_Story()) == 2


def test_a_machine_that_is_never_made_is_not_asked_for_for_ever(cloud, capfd):
  cloud.fault("tpu-vm create", "INVALID_ARGUMENT: no such type", times=9)
  story, flags = _Story(), ["--keep-alive", "--failures=3"]
  assert cloud.run("up", flags=flags, sleep=story) == 2
  assert story.waits == [30, 60]
  assert "no such type" in capfd.readouterr().err.splitlines()[-1]
  with cloud.state() as state:
    state["faults"], state["granted"] = [], False
    failed = {"state": "FAILED"}
    state["queued"]["ltu"] = {"state": failed}

  def fail():
    with cloud.state() as state:
      for request in state["queued"].values():
        request["state"] = failed

  story = _Story(*[fail] * 9)
  flags.append("--queued-resource")
  assert cloud.run("up", flags=flags, sleep=story) == 2
  assert "request FAILED" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_silent_worker_gets_a_new_machine(cloud, capfd, monkeypatch):
  monkeypatch.setattr(keep_alive, "_PATIENCE", 2)

  def silent():
    cloud.wait_starts(1)
    with cloud.state() as state:
      state["down"] = [1]

  def back():
    with cloud.state() as state:
      state["down"] = []

  story = _Story(silent, lambda: None, back, lambda: _finish(cloud))
  assert cloud.run("up", flags=["--keep-alive"], sleep=story) == 0
  assert "workers do not answer" in capfd.readouterr().err
  assert len(cloud.calls("tpu-vm create")) == 2


@pytest.mark.slow
def test_a_machine_that_is_gone_by_the_second_look(cloud, capfd):
  """It was READY, and ssh finds none any more."""

  def go():
    cloud.wait_starts(1)
    cloud.fault("tpu-vm ssh", "NOT_FOUND: Resource 'ltu' was not found")

  story = _Story(go, lambda: None, lambda: _finish(cloud))
  assert cloud.run("up", flags=["--keep-alive"], sleep=story) == 0
  assert "the run is going on; watching it" in capfd.readouterr().err
  # Where it is none of the machine, it stays wrong.
  assert cloud("delete") == 0
  cloud.fault("tpu-vm create", "NOT_FOUND: the network 'n' was not found")
  assert cloud.run("up", flags=["--keep-alive"], sleep=_Story()) == 2


@pytest.mark.slow
def test_it_finds_a_run_that_goes_on(cloud, capfd):
  """The machine that watches may be another, or have been asleep."""
  assert cloud.run("up") == 0
  cloud.wait_starts(1)

  def no_network():
    says = "There was a problem refreshing your current auth tokens: ('Failed"
    says += " to resolve 'oauth2.googleapis.com'. Please run: gcloud auth login"
    cloud.fault("tpu-vm describe", says, 2)
    cloud.fault("tpu-vm ssh", "Max retries exceeded with url: /v2/x")

  story = _Story(no_network, *[lambda: None] * 2, lambda: _finish(cloud))
  assert cloud.run("up", flags=["--keep-alive"], sleep=story) == 0
  err = capfd.readouterr().err
  assert err.count("the run is going on; watching it") == 2
  assert err.count("is there a way to Google") == 2
  assert story.waits == [30, 30, 60, 30]
  assert len(cloud.calls("scp")) == 1 and cloud.starts() == 1


@pytest.mark.parametrize(
  ("states", "how"),
  [
    (("finished", "ended"), "finished"),
    (("ended", "stopped"), "stopped"),
    (("stopped", "failed"), "failed"),
    (("running", "failed"), "breaking"),
    (("running", "none"), "breaking"),
    (("none", "none"), "none"),
    (("none", "ended"), "lost"),
    (("finished",), "unreachable"),
  ],
)
def test_all_workers_in_a_word(states, how):
  assert run.Seen(states).how(2) == how
