"""python -m launch.tpu_vm VERB: a run on a Cloud TPU VM, from any machine.

create, sync, install and run are the steps, `up` is all of them; status, logs,
stop and ssh look after it; delete ends the costs. Each command of gcloud is
printed before it runs; --dry-run prints only. docs/tpu.md goes through all.
"""

import argparse
import collections
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from launch import checkout, settings
from launch.gcloud import Gcloud, GcloudError
from launch.keep_alive import KeepAlive, Patience, RunError
from launch.machine import Machine, MachineError
from launch.run import Run, main_command

_ERRORS = (
  settings.SettingsError,
  GcloudError,
  MachineError,
  RunError,
  checkout.CheckoutError,
)


def main(
  argv: Sequence[str] | None = None,
  sleep: Callable[[float], None] = time.sleep,
) -> int:
  """Carries out one verb; returns the exit status.

  Args:
    argv: The words of the command line; None for the process's own.
    sleep: How to wait between two looks.
  """
  words = list(sys.argv[1:] if argv is None else argv)
  rest: list[str] = []
  if "--" in words:
    cut = words.index("--")
    words, rest = words[:cut], words[cut + 1 :]
  args = _parser().parse_args(words)
  try:
    if rest and args.verb not in ("run", "up", "ssh"):
      raise settings.SettingsError(f"{args.verb} takes nothing after --")
    return args.act(_Session(args, rest, sleep)) or 0
  except _ERRORS as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    return 130


class _Session:
  """What a verb works with.

  Attributes:
    args: The flags.
    rest: The words after --.
    settings: Of the machine.
    machine: The machine.
    run: The run on it.
    sleep: How to wait.
  """

  def __init__(
    self,
    args: argparse.Namespace,
    rest: list[str],
    sleep: Callable[[float], None],
  ):
    """Reads the settings; what every verb needs must be there."""
    self.args, self.rest, self.sleep = args, rest, sleep
    self.settings = settings.settings(args)
    self.settings.need("project", "zone", "name")
    gcloud = Gcloud(self.settings, dry_run=args.dry_run, sleep=sleep)
    self.machine = Machine(
      self.settings, gcloud, poll_seconds=args.poll_seconds, sleep=sleep
    )
    self.run = Run(self.settings, gcloud)

  def command(self) -> list[str]:
    """The run's command on each worker."""
    return main_command(self.settings, self.rest, self.args.set)


def _create(session: _Session) -> None:
  """Makes the machine."""
  session.settings.need("type")
  session.settings.runtime_version()
  session.machine.create()


def _sync(session: _Session) -> None:
  """Sends the checkout."""
  with tempfile.TemporaryDirectory() as folder:
    session.run.send(session.run.pack(checkout.ROOT, pathlib.Path(folder)))


def _install(session: _Session) -> None:
  """Makes the environment."""
  session.settings.need("type")
  session.run.install()


def _start(session: _Session) -> None:
  """Starts the run."""
  session.run.start(session.command())


def _up(session: _Session) -> None:
  """Does all of it; with --keep-alive, until the run has finished."""
  session.settings.need("type")
  session.settings.runtime_version()
  command, run = session.command(), session.run
  with tempfile.TemporaryDirectory() as folder:
    # Once: a machine made later is to have the code that the run began with.
    tar = run.pack(checkout.ROOT, pathlib.Path(folder))

    def prepare() -> None:
      run.send(tar)
      run.install()

    if not session.args.keep_alive or session.args.dry_run:
      session.machine.create()
      prepare()
      run.start(command)
      return
    patience = Patience(
      poll=session.args.poll_seconds, failures=session.args.failures
    )
    KeepAlive(
      session.machine,
      run,
      prepare,
      lambda: run.start(command),
      patience=patience,
      sleep=session.sleep,
    )()


def _status(session: _Session) -> None:
  """Says how the machine and the run are."""
  state = session.machine.state(unasked=True)
  if session.args.dry_run:
    session.run.seen()
    return
  print(state)
  if state.is_ready():
    seen = session.run.seen()
    counts = sorted(collections.Counter(seen.states).items())
    workers = ", ".join(f"{number} {word}" for word, number in counts)
    print(f"run: {seen.how(state.workers)} ({workers})")
    print(seen.problem or seen.last)


def _logs(session: _Session) -> None:
  """Shows a worker's log."""
  args = session.args
  session.run.log(args.worker, args.lines, args.follow)


def _stop(session: _Session) -> None:
  """Lets the run save and end."""
  session.run.stop(session.args.seconds)


def _ssh(session: _Session) -> int:
  """Opens a shell, or runs a command."""
  return session.run.shell(session.args.worker, session.rest)


def _delete(session: _Session) -> None:
  """Deletes the machine and the request."""
  session.machine.delete()


_VERBS = {
  "create": (_create, "make the machine; nothing if it is there and ready"),
  "sync": (_sync, "send this checkout: what git does not ignore, as it is"),
  "install": (_install, "make the environment; check that JAX sees the slice"),
  "run": (_start, "start ltu_jax.main on all workers; its flags after --"),
  "up": (_up, "create, sync, install and run"),
  "status": (_status, "what Google and the workers say"),
  "logs": (_logs, "follow a worker's log, until its run has ended"),
  "stop": (_stop, "let the run save and end, and wait for that"),
  "ssh": (_ssh, "a shell on a worker, or a command after --"),
  "delete": (_delete, "delete the machine, its disks, and the request for it"),
}


def _parser() -> argparse.ArgumentParser:
  """The command line."""
  common = argparse.ArgumentParser(add_help=False)
  common.add_argument(
    "--dry-run", action="store_true", help="print the commands, run none"
  )
  common.add_argument(
    "--poll-seconds",
    type=float,
    default=30,
    metavar="S",
    help="between two looks while waiting (30)",
  )
  settings.add_flags(common)
  parser = argparse.ArgumentParser(
    prog="python -m launch.tpu_vm",
    description=__doc__.partition("\n\n")[2],
    allow_abbrev=False,
  )
  verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
  for name, (act, text) in _VERBS.items():
    verb = verbs.add_parser(
      name, help=text, description=text, parents=[common], allow_abbrev=False
    )
    verb.set_defaults(act=act)
    _add_own_flags(name, verb.add_argument)
  return parser


def _add_own_flags(verb: str, add: Callable[..., argparse.Action]) -> None:
  """Adds the flags of one verb."""
  if verb in ("run", "up"):
    text = "for the run's environment; may be repeated"
    add("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
  if verb == "up":
    text = "make lost machines anew and start the run again, until it finishes"
    add("--keep-alive", action="store_true", help=text)
    text = "failures in a row that end --keep-alive (5)"
    add("--failures", type=int, default=5, metavar="N", help=text)
  if verb in ("logs", "ssh"):
    text = "number of the worker (0); for a command also all, 1-3 or 0,2"
    add("--worker", default="0", metavar="N", help=text)
  if verb == "logs":
    text = "how many of the last lines to begin with (100)"
    add("--lines", type=int, default=100, metavar="N", help=text)
    text = "end when the log's end is shown"
    add("--no-follow", dest="follow", action="store_false", help=text)
  if verb == "stop":
    text = "how long to wait for the save (600)"
    add("--seconds", type=float, default=600, metavar="S", help=text)


if __name__ == "__main__":
  sys.exit(main())
