"""Requests to stop: signals and notices, to real processes."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ltu_jax import preemption
from ltu_jax.stop import Stop, Stopped


@pytest.fixture
def no_watcher(monkeypatch):
  monkeypatch.setattr(preemption, "start", lambda on_notice: None)


@pytest.mark.usefixtures("no_watcher")
@pytest.mark.parametrize(
  "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
)
def test_in_a_step_it_is_noted_and_else_raised(number, capfd):
  # In the background of a shell, or under nohup, they may be ignored.
  before = signal.getsignal(number)
  signal.signal(number, signal.SIG_DFL)
  asked = Stop()
  with asked.listening(), asked.step_in_hand():
    os.kill(os.getpid(), number)
    assert asked.reason == signal.Signals(number).name
    assert 0 <= asked.seconds() < 60
  assert "finishing the step and saving" in capfd.readouterr().err
  asked = Stop()
  words = f"{signal.Signals(number).name}: stopped between steps"
  with asked.listening(), pytest.raises(Stopped, match=words):
    os.kill(os.getpid(), number)
    time.sleep(10)
  assert signal.getsignal(number) is signal.SIG_DFL
  signal.signal(number, before)


@pytest.mark.usefixtures("no_watcher")
def test_an_ignored_hang_up_stays_ignored():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    asked = Stop()
    with asked.listening():
      os.kill(os.getpid(), signal.SIGHUP)
    assert not asked.reason
  finally:
    signal.signal(signal.SIGHUP, before)


def test_a_notice_is_one_request_with_the_signal_that_follows(
  monkeypatch, capfd
):
  notify = []
  closed = []

  class Watcher:
    def close(self):
      closed.append(True)

  def start(on_notice):
    notify.append(on_notice)
    return Watcher()

  monkeypatch.setattr(preemption, "start", start)
  asked = Stop()
  with asked.listening(), asked.step_in_hand():
    notify[0]("preempted")
    assert asked.reason == "preempted"
    os.kill(os.getpid(), signal.SIGTERM)  # the machine's own shutdown
    assert asked.reason == "preempted"
  assert closed == [True]
  assert "preempted: finishing the step" in capfd.readouterr().err


SECOND = """
import os, signal, time
from ltu_jax.stop import Stop
asked = Stop()
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background ignores it
with asked.listening(), asked.step_in_hand():
  os.kill(os.getpid(), signal.SIGTERM)
  print("first", flush=True)
  os.kill(os.getpid(), signal.SIG{})
  time.sleep(60)
"""


@pytest.mark.parametrize("name, status", [("TERM", 143), ("INT", 130)])
def test_the_second_ends_the_process_at_once(name, status):
  done = subprocess.run(
    [sys.executable, "-c", SECOND.format(name)],
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == status
  assert done.stdout == "first\n"
  assert f"SIG{name} again: ended at once" in done.stderr


def test_other_threads_cannot_listen():
  def listen():
    with Stop().listening():
      found.append(signal.getsignal(signal.SIGTERM))

  found, before = [], signal.getsignal(signal.SIGTERM)
  thread = threading.Thread(target=listen)
  thread.start()
  thread.join()
  assert found == [before]
