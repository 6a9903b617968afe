"""The dialogue: through a pipe, and at a pseudo-terminal with Ctrl-C."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from hears_ctrl_c import hears_ctrl_c
from ltu_jax.answers.answerer import Answerer, Question
from ltu_jax.ask.loading import _DEFAULT
from ltu_jax.sampling import SamplingConfig


def command(bundle, tokens=8, context=512):
  return [
    *(sys.executable, "-m", "ltu_jax.ask", f"--bundle={bundle}", "--chat"),
    *(f"--max_new_tokens={tokens}", f"--context={context}"),
  ]


@pytest.mark.slow
def test_through_a_pipe(tmp_path, tiny_bundle, tiny_model, noise):
  pcm = noise(tmp_path / "a b.wav")
  typed = [
    "What is it?",
    "Why?",
    "/alone",
    "Why?",
    "/alone",
    "Where?",
    "/new",
    "Why?",
    f"/clip {tmp_path}/a b.wav",
    "Why?",
    "/clip absent.wav",
    "/dance",
    "/help",
    "/quit",
    "never read",
  ]
  done = subprocess.run(
    command(tiny_bundle),
    input="\n".join(typed),
    capture_output=True,
    text=True,
  )
  answerer = Answerer(*tiny_model, num_rows=1, context=512)
  config = SamplingConfig(0.0, 0.95, 500, 1.0, 8)

  def answer(text, clip=None, before=()):
    question = Question(text, clip, before, config)
    *_, last = answerer.stream(question)
    return last.answer.text

  first = answer("What is it?")
  said = [("What is it?", first)]
  said.append(("Why?", answer("Why?", before=tuple(said))))
  said.append(("Why?", answer("Why?")))  # alone, and yet of the dialogue
  wanted = [
    *(text for _, text in said),
    answer("Where?", before=tuple(said)),
    answer("Why?"),
    answer("Why?", pcm),
  ]
  out = done.stdout
  assert out.startswith("".join(f"{text}\n" for text in wanted)), done.stderr
  assert out.count("/quit") == 1 and out.endswith("stops an answer\n")
  assert wanted[1] != wanted[2]
  ways = done.stderr.split("ask: from now on, questions ")[1:]
  assert [way.split(".")[0] for way in ways] == ["go alone", "follow up"]
  assert "absent.wav: cannot be opened" in done.stderr
  assert "unknown command /dance" in done.stderr
  assert done.returncode == 1  # two lines could not be done
  assert "Traceback" not in done.stderr


class Terminal:
  """A program at a pseudo-terminal."""

  def __init__(self, argv):
    self.text = self._new = ""
    self._ours, theirs = pty.openpty()
    self.process = subprocess.Popen(
      argv,
      stdin=theirs,
      stdout=theirs,
      stderr=theirs,
      env=os.environ | {"TERM": "dumb"},
      start_new_session=True,
      preexec_fn=hears_ctrl_c,
    )
    os.close(theirs)
    os.set_blocking(self._ours, False)

  def type(self, text):
    os.write(self._ours, text.encode())

  def until(self, wanted="", seconds=120):
    """Reads until what is wanted (or anything) came; forgets all before it."""
    deadline = time.monotonic() + seconds
    while wanted not in self._new or not self._new:
      assert time.monotonic() < deadline, (wanted, self.text)
      assert self._pull(), (wanted, self.text)
    self._new = self._new.partition(wanted)[2] if wanted else ""

  def _pull(self):
    """Takes what there is; returns whether more may come."""
    try:
      new = os.read(self._ours, 4096).decode(errors="replace")
    except BlockingIOError:
      time.sleep(0.01)
      return True
    except OSError:  # it has ended
      return False
    self._new += new
    self.text += new
    return True


@pytest.fixture
def terminal(tiny_bundle):
  made = Terminal(command(tiny_bundle, tokens=3000, context=3200))
  yield made
  made.process.kill()
  made.process.wait()


def test_at_a_terminal(terminal):
  terminal.until("> ")
  terminal.process.send_signal(signal.SIGINT)  # at the prompt: a hint
  terminal.until("Ctrl-D or /quit ends")
  terminal.until("> ")
  terminal.type("What is it?\n")
  terminal.until("What is it?\r\n")
  terminal.until()  # something of the answer
  terminal.process.send_signal(signal.SIGINT)
  terminal.until("stopped.")
  terminal.until("> ")
  assert terminal.process.poll() is None
  terminal.type("/help\n")
  terminal.until("/clip FILE")
  terminal.until("> ")
  terminal.type("\x04")
  assert terminal.process.wait(30) == 0
  assert "Traceback" not in terminal.text


def test_the_default_is_the_likeliest_answer():
  assert _DEFAULT.greedy and _DEFAULT.max_new_tokens == 400
