"""The command line.

python -m ltu_jax.ask --workdir=runs/quickstart clip.wav "What can be heard?"
python -m ltu_jax.ask --bundle=ltu-bundle folder "What can be heard?"
python -m ltu_jax.ask --bundle=ltu-bundle --input=questions.csv --out=a.jsonl
python -m ltu_jax.ask --bundle=ltu-bundle --chat clip.wav
"""

import argparse
from collections.abc import Sequence

from ltu_jax import model_flags, version
from ltu_jax.answers.windows import MOST_OVERLAP
from ltu_jax.ask.errors import AskError

_LARGEST_SEED = 2**32 - 1

_APART = (
  ("chat", ("input", "out", "json", "samples", "windows", "beams")),
  ("windows", ("samples",)),
  ("beams", ("samples", "context")),
)
"""Options that do not go together."""

_NEEDS = (("audio_root", "input"), ("overlap", "windows"))
"""Options that mean nothing without another one."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
  """Reads the arguments, and checks what can be checked by looking at them.

  Args:
    argv: Arguments; None takes the process's.

  Returns:
    Their values; None for those with a default of their own that lack.

  Raises:
    AskError: Some do not go together, or are out of range.
    SystemExit: Unknown ones (status 2), or a call for help.
  """
  args = parser().parse_intermixed_args(argv)
  given = lambda name: getattr(args, name) not in (None, False)
  for name, others in _APART:
    if wrong := [o for o in others if given(name) and given(o)]:
      raise AskError(f"--{name} and --{wrong[0]} do not go together.")
  for name, needed in _NEEDS:
    if given(name) and not given(needed):
      raise AskError(f"--{name} is of use with --{needed} only.")
  if not 0 <= args.seed <= _LARGEST_SEED:
    raise AskError(f"seed is {args.seed}; it must be 0 to {_LARGEST_SEED}.")
  if not all(args.stop):
    raise AskError("a --stop string is empty.")
  if not 0 <= (args.overlap or 0) <= MOST_OVERLAP:
    raise AskError(
      f"overlap is {args.overlap}; it must be 0 to {MOST_OVERLAP:g} seconds."
    )
  _check_inputs(args)
  return args


def _check_inputs(args: argparse.Namespace) -> None:
  """Raises AskError for too many or too few of them."""
  if args.chat:
    if len(args.inputs) > 1:
      raise AskError("--chat takes one sound file, or none.")
  elif args.input is not None:
    if len(args.inputs) > 1:
      raise AskError(
        "--input takes the sounds from the table; besides, one question for "
        "rows without one can be given."
      )
  elif not args.inputs:
    raise AskError(
      'there is no question. For example: ask clip.wav "What can be heard?"'
    )


def _positive(text: str) -> int:
  """Reads a number of 1 or more."""
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f"{value}: it must be 1 or more")
  return value


def parser() -> argparse.ArgumentParser:
  """All options."""
  made = argparse.ArgumentParser(
    prog="python -m ltu_jax.ask",
    description="Ask a trained model about sounds.",
    epilog="example: python -m ltu_jax.ask --workdir=runs/quickstart clip.wav "
    '"What can be heard?"   Exit status: 0 all answered, 1 some failed, 2 a '
    "mistake in the call, 130 stopped by Ctrl-C.",
    allow_abbrev=False,
  )
  version.add(made)
  made.add_argument(
    "inputs",
    nargs="*",
    metavar="clip ... question",
    help="sound files, or folders whose sound files are all taken (none: the "
    "model answers from text alone), and the question in quotes",
  )
  _add_model(made)
  _add_tables(made)
  _add_answers(made)
  _add_sounds(made)
  return made


def _add_model(made: argparse.ArgumentParser) -> None:
  """Which model, and how it is run."""
  add = model_flags.add(made).add_argument
  add(
    "--rows",
    type=_positive,
    default=8,
    help="answers that are made at once; default: %(default)s",
  )
  add(
    "--context",
    type=_positive,
    help="tokens of sound, question and answer together; default: as many as "
    "are needed, with --input and --chat 1024",
  )


def _add_tables(made: argparse.ArgumentParser) -> None:
  """Many questions, and where their answers go."""
  add = made.add_argument_group("many questions").add_argument
  add(
    "--input",
    metavar="FILE",
    help="a table of questions: .csv (columns audio, question), .jsonl or .json"
    " (one list, such as OpenAQA's files; audio_id and instruction are names "
    "for the same); a question given besides is for rows without one",
  )
  add(
    "--audio_root",
    metavar="DIR",
    help="folder of the table's relative sound files; default: the table's",
  )
  add(
    "--out",
    metavar="FILE",
    help="add a JSON line to this file as each answer ends; started again, the "
    "same command asks only what has no answer there yet",
  )
  add("--json", action="store_true", help="print a JSON object for each clip")
  add(
    "--progress",
    action="store_true",
    help="show progress also where standard error is no terminal",
  )
  add(
    "--chat",
    action="store_true",
    help="a dialogue about one clip, or none; /help says what there is",
  )


def _add_answers(made: argparse.ArgumentParser) -> None:
  """How answers are drawn."""
  add = made.add_argument_group("answers").add_argument
  add(
    "--published",
    action="store_true",
    help="as the published model was asked: temperature 0.1, top p 0.95, top k "
    "500, penalty 1.1, 400 tokens",
  )
  add("--temperature", type=float, help="default: 0, the most likely answer")
  add("--top_p", type=float, help="default: 0.95")
  add("--top_k", type=int, help="0: all; default: 500")
  add("--repetition_penalty", type=float, help="default: 1, none")
  add("--max_new_tokens", type=int, help="default: 400")
  add("--seed", type=int, default=0, help="of the draws; default: 0")
  add("--samples", type=_positive, help="answers to each question; default: 1")
  add(
    "--stop",
    action="append",
    default=[],
    metavar="STRING",
    help="ends the answer where it comes; may be given several times",
  )
  add(
    "--beams",
    type=_positive,
    help="search for the likeliest answer with so many open ones",
  )


def _add_sounds(made: argparse.ArgumentParser) -> None:
  """What is heard."""
  add = made.add_argument_group("long sounds").add_argument
  add(
    "--windows",
    action="store_true",
    help="hear a clip of more than 10.24 s in windows of that length, and join "
    "neighbours with the same answer into a timeline; each window is heard "
    "alone, the model knows nothing of the others",
  )
  add(
    "--overlap",
    type=float,
    metavar="SECONDS",
    help="what two windows share; default: 2",
  )
