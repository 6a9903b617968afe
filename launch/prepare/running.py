"""Runs commands one after the other; each is printed before."""

import shlex
import subprocess
import time
from collections.abc import Callable, Sequence

TRIES = 12
"""How often a machine that starts is asked whether it answers; with
PAUSE_SECONDS that is two minutes, and Google's start in less than one."""

PAUSE_SECONDS = 10


class CommandError(Exception):
  """A command that failed or is not there; the message is for the user."""


class Runner:
  """Runs commands, or in a dry run only prints them."""

  def __init__(
    self, dry_run: bool = False, sleep: Callable[[float], None] = time.sleep
  ):
    """Keeps whether to run, and how to wait."""
    self._dry_run, self._sleep = dry_run, sleep

  def __call__(self, command: Sequence[str], tries: int = 1) -> None:
    """Prints a command and runs it until it succeeds.

    Args:
      command: Its words.
      tries: How often, PAUSE_SECONDS apart.

    Raises:
      CommandError: It is not there, or failed each time.
    """
    print(f"+ {shlex.join(command)}", flush=True)
    if self._dry_run:
      return
    for left in reversed(range(tries)):
      try:
        status = subprocess.run(command, check=False).returncode
      except FileNotFoundError as error:
        raise CommandError(
          f"{command[0]} is not installed; gcloud:"
          " https://cloud.google.com/sdk/docs/install"
        ) from error
      if status == 0:
        return
      if left:
        print(f"  status {status}; again in {PAUSE_SECONDS} s", flush=True)
        self._sleep(PAUSE_SECONDS)
    raise CommandError(
      f"{command[0]} ended with status {status}; its own words are above. The"
      f" command was: {shlex.join(command)}"
    )
