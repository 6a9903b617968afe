"""Runs the command line: checks, loads, asks, and says how it ended."""

import argparse
import itertools
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ltu_jax import compile_cache
from ltu_jax.ask import cli
from ltu_jax.ask.answers_file import AnswersFile
from ltu_jax.ask.clips import read_clip
from ltu_jax.ask.console import Console, say, told
from ltu_jax.ask.errors import AskError
from ltu_jax.ask.items import ClipItems
from ltu_jax.ask.printer import Printer
from ltu_jax.ask.results import Result
from ltu_jax.ask.table import Table

if TYPE_CHECKING:
  from ltu_jax.ask.asking import Answers
  from ltu_jax.sampling import SamplingConfig

# What imports JAX is imported late, so that a mistyped file name is told at
# once.

_STOPPED = 130
"""Status after Ctrl-C: 128 and the signal's number, as shells have it."""

_UNREAD = 141
"""The same of a pipe that nobody reads any more."""


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments; None takes the process's.

  Returns:
    Exit status: 0 if all was answered, 1 if something was not, 2 after a
    mistake of the user's, told in one line, 130 after Ctrl-C, 141 if nobody
    reads what is printed.
  """
  try:
    args = cli.parse(argv)
    # A file name may hold what the terminal cannot show.
    if hasattr(sys.stdout, "reconfigure"):
      sys.stdout.reconfigure(errors="backslashreplace")
    return _chat(args) if args.chat else _ask(args)
  except AskError as error:
    say(str(error))
    return 2
  except KeyboardInterrupt:
    say("stopped.")
    return _STOPPED
  except BrokenPipeError:
    # What Python would still flush at its end goes nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _UNREAD


def _ask(args: argparse.Namespace) -> int:
  """Checks everything that is quick to check, then asks."""
  items = _items(args)
  out = AnswersFile(args.out, items) if args.out else None
  try:
    run = _Run(args, items, out)
    if run.left:
      return run.ask()
    say(f"{args.out}: all {len(items)} answers are there.")
    return 0
  finally:
    if out:
      out.close()


def _items(args: argparse.Namespace) -> "Table | ClipItems":
  """What is asked."""
  if args.input is not None:
    table = Table(args.input, args.audio_root, *args.inputs)
    len(table)  # a mistake in a row is told before anything is asked
    return table
  *paths, question = args.inputs
  items = ClipItems(paths, question)
  items.check_names()
  for folder, count in items.found:
    say(f"{folder}: {count} sound file{'s' * (count > 1)}")
  if len(paths) == 1 and not items.found:
    read_clip(paths[0], whole=args.windows)
  return items


class _Run:
  """Asks what has no answer yet.

  Attributes:
    left: Items to be asked.
  """

  def __init__(
    self,
    args: argparse.Namespace,
    items: "Table | ClipItems",
    out: AnswersFile | None,
  ):
    """Loads nothing yet."""
    self._args, self._items, self._out = args, items, out
    self._done = out.num_done if out else 0
    self._answered = self._failed = 0
    self.left = len(items) - self._done
    self._sink = out or Printer(args.json, named=len(items) > 1)

  def ask(self) -> int:
    """Asks; returns the exit status."""
    from ltu_jax.ask.loading import sampling_config

    config = sampling_config(self._args)
    answers = self._answers(config)
    from ltu_jax.ask import asking

    args = self._args
    overlap = 2.0 if args.overlap is None else args.overlap
    way = asking.Way(
      config,
      args.seed,
      tuple(args.stop),
      args.samples or 1,
      overlap if args.windows else None,
    )
    bar = args.progress or (sys.stderr.isatty() and len(self._items) > 1)
    self._console = Console(len(self._items), self._done, bar)
    items = iter(self._items)
    if self._out:
      items = itertools.filterfalse(self._out.is_done, items)
    try:
      asking.ask(items, answers, way, self._tell)
    except KeyboardInterrupt:
      self._console.close()
      say(self._stopped())
      return _STOPPED
    finally:
      self._console.close()
    return self._end()

  def _answers(self, config: "SamplingConfig") -> "Answers":
    """Loads the model."""
    from ltu_jax.ask import loading

    args = self._args
    _keep_compiled(args)
    loaded = loading.load(args)
    rows = args.rows
    if not args.windows:
      rows = min(rows, self.left * (args.samples or 1))
    if args.beams:
      return loading.searcher(loaded, rows=rows, beams=args.beams).answers
    context = args.context or loading.MANY_CONTEXT
    if not (args.context or args.input):
      most = config.max_new_tokens
      context = loading.needed_context(loaded, args.inputs[-1], most)
    return loading.answerer(loaded, rows=rows, context=context).answers

  def _tell(self, result: Result) -> None:
    """Takes a result."""
    if result.error:
      self._failed += 1
      about = result.error
      if not (result.item.path and about.startswith(result.item.path)):
        about = f"{result.name}: {about}"
      self._console.tell([about])
    else:
      self._answered += 1
      self._console.tell(told(result.item.path, result.notes, result.warnings))
    self._sink.add(result)
    self._console.advance()

  def _end(self) -> int:
    """Says what came out."""
    total = self._answered + self._failed
    if self._out:
      before = f" ({self._done} of them before)" if self._done else ""
      say(f"{self._answered + self._done} answers in {self._args.out}{before}")
    if not self._failed:
      return 0
    if total > 1 or self._out:
      again = "; the same command asks again about these" * bool(self._out)
      say(f"{self._failed} of {total} questions have no answer{again}.")
    return 1

  def _stopped(self) -> str:
    """What is said after Ctrl-C."""
    if not self._out:
      return "stopped."
    return (
      f"stopped: {self._answered + self._done} of {len(self._items)} answers "
      f"are in {self._args.out}; the same command goes on from there."
    )


def _keep_compiled(args: argparse.Namespace) -> None:
  """Keeps what is compiled; where that fails, a warning is all."""
  if why := compile_cache.enable(args.compile_cache):
    say(f"warning: {why}")


def _chat(args: argparse.Namespace) -> int:
  """A dialogue in the terminal."""
  clip = None
  if args.inputs:
    clip = read_clip(args.inputs[0])
    for line in told(args.inputs[0], clip.notes, clip.warnings):
      say(line)
  from ltu_jax.ask import loading
  from ltu_jax.ask.chat import Chat

  config = loading.sampling_config(args)
  _keep_compiled(args)
  loaded = loading.load(args)
  context = args.context or loading.MANY_CONTEXT
  answerer = loading.answerer(loaded, rows=1, context=context)
  chat = Chat(answerer, config, args.seed, tuple(args.stop), clip)
  return chat.run()
