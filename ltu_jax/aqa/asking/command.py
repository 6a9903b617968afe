"""The command `ask`: open-ended questions by a language model.

python -m ltu_jax.aqa ask --records=my_qa/records.jsonl --out=my_qa
  --model=NAME --base_url=http://localhost:8000/v1
"""

import argparse
import itertools
import pathlib
import sys
from collections.abc import Iterator

from ltu_jax.aqa import record_lines
from ltu_jax.aqa.asking import clips, open_file
from ltu_jax.aqa.asking.clips import Manner
from ltu_jax.aqa.records import ClipRecord
from ltu_jax.endpoint import asking, flags
from ltu_jax.endpoint.kept import KeptFile

_MISSING = 1
"""Status if clips are left without a reply."""


def add_parser(commands) -> None:
  """Adds `ask` to the commands of argparse's `add_subparsers`."""
  parser = commands.add_parser(
    "ask",
    help="open-ended questions, by a language model",
    description="Ask a language model for questions and answers about clips, "
    "of which it is told the record. Replies are kept in DIR/replies.jsonl and "
    "never asked for again; DIR/open.json and open_report.json are made of "
    "them.",
    epilog="Exit status: 0 done, 1 clips are left without a reply (the same "
    "command goes on), 2 a mistake in the call, 130 stopped by Ctrl-C.",
    allow_abbrev=False,
  )
  flag = parser.add_argument
  flag("--records", required=True, help="JSON lines of `make`: what is known")
  flag("--out", required=True, metavar="DIR", help="where replies and files go")
  flag("--limit", type=flags.positive, help="only the first so many records")
  flag(
    "--max_tokens",
    type=flags.positive,
    default=Manner.max_tokens,
    help="of a reply; models that think first need more; default: %(default)s",
  )
  flag(
    "--temperature",
    type=flags.amount,
    default=Manner.temperature,
    help="of replies; 0 draws none, and clips of which the same is known share "
    "a reply; default: %(default)g",
  )
  flag(
    "--json_schema",
    action="store_true",
    help="hold replies to a JSON schema, if the server can",
  )
  flags.add(parser)


def run(args: argparse.Namespace) -> int:
  """Asks, and writes the files.

  Args:
    args: Of the parser above.

  Returns:
    Exit status.

  Raises:
    AqaError: A file cannot be written.
    EndpointError: The server cannot be asked, or the replies' file is none.
    EvaluateError: The records' file is none.
  """
  settings = flags.settings(args)
  manner = Manner(
    args.model, args.max_tokens, args.temperature, args.json_schema
  )

  def records() -> Iterator[ClipRecord]:
    read = record_lines.read(pathlib.Path(args.records))
    return itertools.islice(read, args.limit)

  with KeptFile(pathlib.Path(args.out, "replies.jsonl")) as file:
    ended = _ask(records, manner, settings, file)
    report = open_file.write(records(), manner, file, args.out)
  _tell(f"{pathlib.Path(args.out, 'open.json')}: {report.line()}")
  return _status(report, ended, args)


def _ask(
  records: clips.Records,
  manner: Manner,
  settings: asking.Settings,
  file: KeptFile,
) -> asking.Ended:
  """Asks what is missing."""
  new = clips.count(records, manner, file)
  if not new.estimate.requests:
    _tell(f"all {new.total} replies are there")
    return asking.Ended()
  _tell(new.estimate.line(settings.prices))
  return clips.ask(records, manner, settings, file, new, _tell)


def _status(
  report: open_file.Report, ended: asking.Ended, args: argparse.Namespace
) -> int:
  """Tells what is missing; returns the exit status."""
  if ended.spent:
    _tell(f"all replies in {args.out} have cost {ended.spent:.4g}.")
  missing = report.records - report.replies
  if not missing:
    return 0
  if ended.is_held:
    _tell(
      f"stopped, as the next reply might cost more than the {args.max_cost:g} "
      "that all may: allow more with --max_cost."
    )
  elif ended.failed:
    _tell(f"for example: {next(iter(ended.failed.values()))}")
  _tell(f"{missing} clips have no reply; the same command asks about them.")
  return _MISSING


def _tell(line: str) -> None:
  """Tells on the terminal."""
  print(f"ask: {line}", file=sys.stderr, flush=True)
