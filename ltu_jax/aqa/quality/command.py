"""The commands `check`, `stats` and `browse` on OpenAQA files.

python -m ltu_jax.aqa check open.json --drop=unanswerable,leak --out=kept.json
python -m ltu_jax.aqa stats closed.json open.json --out=stats
python -m ltu_jax.aqa browse open.json --audio=sounds --out=page.html
"""

import argparse
import pathlib
import sys
from typing import Any

from ltu_jax.aqa.quality import check
from ltu_jax.aqa.quality.duplicates import MOST, NEAR
from ltu_jax.aqa.quality.gates import GATES, GateSettings, check_names
from ltu_jax.aqa.quality.texts import Limits

_LIMITS = Limits()

_LARGEST_SEED = 2**32 - 1


def add_parsers(commands: Any) -> None:
  """Adds the commands to argparse's subparsers."""
  _add_check(commands)
  _add_stats(commands)
  _add_browse(commands)


def run(args: argparse.Namespace) -> int:
  """Runs `check`, `stats` or `browse`.

  Args:
    args: With `command`, which of them.

  Returns:
    Exit status.

  Raises:
    AqaError: A mistake that the user can mend.
    EvaluateError: So in a file of records.
  """
  return {"check": _check, "stats": _stats, "browse": _browse}[args.command](
    args
  )


def _check(args: argparse.Namespace) -> int:
  """Runs `check`."""
  # Before the file is read for minutes.
  check_names(args.drop)
  print(
    check.as_text(check.check(args.file, args.out, args.drop, _settings(args)))
  )
  if args.out:
    report = pathlib.Path(args.out).with_suffix(".report.json")
    _say(f"the questions kept are in {args.out}, the counts in {report}")
  return 0


def _stats(args: argparse.Namespace) -> int:
  """Runs `stats`."""
  from ltu_jax.aqa.quality import stats_report

  page, *_ = stats_report.report(args.files, args.out, _settings(args))
  _say(f"the page is {page}, beside stats.md and stats.json")
  return 0


def _browse(args: argparse.Namespace) -> int:
  """Runs `browse`."""
  from ltu_jax.aqa.quality import browse  # imports JAX, for pictures

  choice = browse.Choice(
    args.clips, args.seed, args.task, args.dataset, args.flag
  )
  page = browse.browse(
    args.file, args.out, args.audio, args.records, choice, _settings(args)
  )
  _say(f"the page is {page}")
  return 0


def _settings(args: argparse.Namespace) -> GateSettings:
  """How the gates are set."""
  limits = Limits(args.question_words, args.answer_words)
  return GateSettings(limits, args.phrases, args.near, args.most, args.seed)


def _say(text: str) -> None:
  """Prints a line on standard error, where it is not in the way."""
  print(f"aqa: {text}", file=sys.stderr, flush=True)


def _add_check(commands: Any) -> None:
  """The command `check`."""
  gates = "; ".join(
    f"{name}: {gate.rule} ({', '.join(kind.value for kind in gate.kinds)})"
    for name, gate in GATES.items()
  )
  parser = commands.add_parser(
    "check",
    help="count what quality gates flag, and drop it if wanted",
    description="Look at all questions of an OpenAQA file. The gates, and the "
    f"questions they look at: {gates}. Labels and times pass all of them.",
    allow_abbrev=False,
  )
  parser.add_argument("file", metavar="FILE", help="JSON, as published")
  parser.add_argument(
    "--out",
    metavar="FILE",
    help="write the questions that are kept, and the counts beside it",
  )
  parser.add_argument(
    "--drop",
    type=_names,
    default=(),
    metavar="GATE,GATE",
    help="gates whose questions are not kept; default: none",
  )
  _add_settings(parser)


def _add_stats(commands: Any) -> None:
  """The command `stats`."""
  parser = commands.add_parser(
    "stats",
    help="make a page of statistics",
    description="Count what is in OpenAQA files: by source and task, lengths, "
    "types of questions, diversity, the most frequent ones, quality gates. "
    "Writes index.html, stats.md and stats.json.",
    allow_abbrev=False,
  )
  parser.add_argument(
    "files", nargs="+", metavar="FILE", help="JSON, as published"
  )
  parser.add_argument("--out", required=True, metavar="DIR", help="where")
  _add_settings(parser)


def _add_browse(commands: Any) -> None:
  """The command `browse`."""
  parser = commands.add_parser(
    "browse",
    help="make a page to listen to clips and read their questions",
    description="Make a page of some clips, chosen at random, with all of "
    "their questions, players, and what the quality gates say.",
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("file", metavar="FILE", help="JSON, as published")
  add("--out", required=True, metavar="FILE.html", help="the page to write")
  add(
    "--audio",
    action="append",
    default=[],
    metavar="DIR",
    help="folder of the sounds, which are found by name; may be given several "
    "times. Without, the page has no players",
  )
  add(
    "--records",
    metavar="FILE",
    help="meta information to show: the records.jsonl that `make` writes, or a "
    "published file (.json)",
  )
  add(
    "--clips",
    type=_number(1, 10_000),
    default=50,
    help="how many; default: %(default)s",
  )
  for name, what in (
    ("task", "only these tasks"),
    ("dataset", "only these sources"),
    ("flag", "only questions that one of these gates flags"),
  ):
    add(f"--{name}", type=_names, default=(), metavar="NAME,NAME", help=what)
  _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
  """How the gates are set."""
  add = parser.add_argument_group("quality gates").add_argument
  for name, words in (
    ("question", _LIMITS.question),
    ("answer", _LIMITS.answer),
  ):
    add(
      f"--{name}_words",
      type=_range,
      default=words,
      metavar="LOW,HIGH",
      help=f"words of each {name}, but labels and times; default: "
      f"{words[0]},{words[1]}",
    )
  add(
    "--phrases",
    default="",
    metavar="FILE",
    help="more phrases to look for: lines below [unanswerable] and [leak]",
  )
  add(
    "--near",
    type=_share,
    default=NEAR,
    help="Jaccard index of pairs of words from which questions are nearly the "
    "same; default: %(default)s",
  )
  add(
    "--most",
    type=_number(1, 2**31),
    default=MOST,
    help="questions to remember for comparing; default: %(default)s",
  )
  add(
    "--seed",
    type=_number(0, _LARGEST_SEED),
    default=0,
    help="of the choice of clips and of hashes; default: %(default)s",
  )


def _names(text: str) -> tuple[str, ...]:
  """Reads names between commas."""
  return tuple(name.strip() for name in text.split(",") if name.strip())


def _range(text: str) -> tuple[int, int]:
  """Reads two numbers, the smaller one first."""
  low, _, high = text.partition(",")
  if not (low.strip().isdecimal() and high.strip().isdecimal()):
    raise argparse.ArgumentTypeError(f"{text!r}: it must be LOW,HIGH")
  if int(low) > int(high):
    raise argparse.ArgumentTypeError(f"{text!r}: no number is in it")
  return int(low), int(high)


def _share(text: str) -> float:
  """Reads a number above 0 and up to 1."""
  value = float(text)
  if not 0 < value <= 1:
    raise argparse.ArgumentTypeError(f"{text}: it must be above 0, at most 1")
  return value


def _number(low: int, high: int):
  """Returns what reads a number within limits."""

  def number(text: str) -> int:
    value = int(text)
    if not low <= value <= high:
      raise argparse.ArgumentTypeError(f"{text}: it must be {low} to {high}")
    return value

  return number
