"""The command line of the evaluation.

python -m ltu_jax.evaluate --workdir=runs/quickstart --report
python -m ltu_jax.evaluate --bundle=ltu-bundle --sets=all --data=sets
python -m ltu_jax.evaluate report runs/a/evaluation runs/b/evaluation
"""

import argparse
from collections.abc import Sequence

from ltu_jax import model_flags, version
from ltu_jax.endpoint import flags
from ltu_jax.evaluate import controls
from ltu_jax.evaluate.embeddings import choose
from ltu_jax.evaluate.errors import EvaluateError

PROTOCOLS = ("published", "labels", "constrained")
"""How classes are scored; "exact" comes with openaqa/mini."""

_LARGEST_SEED = 2**32 - 1


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
  """Reads the arguments, and checks what can be checked by looking at them.

  Args:
    argv: Arguments; None takes the process's.

  Raises:
    EvaluateError: Some do not go together, or are out of range.
    SystemExit: Unknown ones (status 2), or a call for help.
  """
  args = _parser().parse_args(argv)
  for name, known in (("protocols", PROTOCOLS), ("controls", controls.NAMES)):
    given = getattr(args, name)
    if wrong := [x for x in given if x not in known]:
      raise EvaluateError(
        f"--{name}: {wrong[0]!r} is not one of {', '.join(known)}."
      )
  if not 0 <= args.seed <= _LARGEST_SEED:
    raise EvaluateError(f"seed is {args.seed}; it must be 0 to 2^32 - 1.")
  needs_data = [s for s in args.sets if not s.startswith("mini")]
  if needs_data and not args.data:
    raise EvaluateError(
      f"--sets={','.join(args.sets)} needs --data, the folder of the sets'"
      " folders; docs/evaluation.md says what they hold."
    )
  return args


def parse_report(argv: Sequence[str]) -> argparse.Namespace:
  """Reads the arguments of `report`."""
  parser = argparse.ArgumentParser(
    prog="python -m ltu_jax.evaluate report",
    description="Make a page, a Markdown file and a table of results.",
    allow_abbrev=False,
  )
  add = parser.add_argument
  add(
    "folders",
    nargs="+",
    metavar="DIR",
    help="folders of results, one a checkpoint: WORKDIR/evaluation, or --out",
  )
  add("--out", metavar="DIR", help="where; default: report in the first DIR")
  add(
    "--allow",
    type=_names,
    default=(),
    metavar="settings,data",
    help="show results beside each other that were made in another way, or on "
    "other data, with a warning",
  )
  add("--data_dir", default="", help="TFDS's folder, to play openaqa/mini's")
  return parser.parse_args(argv)


def _names(text: str) -> tuple[str, ...]:
  """Reads names between commas."""
  return tuple(name.strip() for name in text.split(",") if name.strip())


def _positive(text: str) -> int:
  """Reads a number of 1 or more."""
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f"{value}: it must be 1 or more")
  return value


def _parser() -> argparse.ArgumentParser:
  """All options."""
  parser = argparse.ArgumentParser(
    prog="python -m ltu_jax.evaluate",
    description="Evaluate a trained model: the paper's table, or the held-out "
    "clips of openaqa/mini. `python -m ltu_jax.evaluate report DIR ...` makes "
    "a page of what came out.",
    epilog="example: python -m ltu_jax.evaluate --bundle=ltu-bundle --sets=all "
    "--data=sets   Exit status: 0 done, 2 a mistake in the call, 130 stopped "
    "by Ctrl-C; the same command goes on.",
    allow_abbrev=False,
  )
  version.add(parser)
  _add_model(parser)
  _add_sets(parser)
  _add_answers(parser)
  _add_scores(parser)
  _add_judge(parser)
  return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
  """Which model, and how it is run."""
  add = model_flags.add(parser).add_argument
  add("--name", help="what to call it in tables; default: its folder's name")
  add(
    "--rows",
    type=_positive,
    default=16,
    help="answers that are made at once; default: %(default)s",
  )
  add = parser.add_argument_group("several processes").add_argument
  add("--coordinator", help="HOST:PORT of process 0, where nothing finds it")
  add("--num_processes", type=_positive, help="how many, with --coordinator")
  add("--process_id", type=int, help="which this is, from 0")


def _add_sets(parser: argparse.ArgumentParser) -> None:
  """What is asked about."""
  add = parser.add_argument_group("sets").add_argument
  add(
    "--sets",
    type=_names,
    default=("mini", "mini_order"),
    help="names between commas, or all: every one that --data holds; default: "
    "mini,mini_order, the held-out clips of openaqa/mini",
  )
  add("--data", metavar="DIR", help="folder of the sets' folders")
  add(
    "--data_dir",
    default="",
    help="TFDS's folder, for openaqa/mini (default: the run's, or for a bundle "
    "TFDS's default)",
  )
  add(
    "--items",
    type=_positive,
    help="items of a set at most, at even distances; default: all",
  )
  add(
    "--controls",
    type=_names,
    default=(),
    metavar="silent,shuffled",
    help="ask also without the clips, or with another item's clip each",
  )


def _add_answers(parser: argparse.ArgumentParser) -> None:
  """How answers are drawn, and where they go."""
  add = parser.add_argument_group("answers").add_argument
  add(
    "--out",
    metavar="DIR",
    help="where answers and results go; default: evaluation in the model's "
    "folder. Started again, the same command goes on there",
  )
  add("--again", action="store_true", help="forget the answers that are there")
  add(
    "--decode",
    choices=("published", "greedy"),
    help="published: temperature 0.1, top p 0.95, top k 500, penalty 1.1; "
    "default: as the set was published, openaqa/mini greedily",
  )
  add("--max_new_tokens", type=_positive, help="default: 400, greedy 48")
  add("--seed", type=int, default=0, help="of draws and bootstrap; default: 0")
  add(
    "--samples",
    type=_positive,
    default=5,
    help="captions to each clip, if they are drawn; default: %(default)s",
  )


def _add_scores(parser: argparse.ArgumentParser) -> None:
  """How they are scored."""
  add = parser.add_argument_group("scores").add_argument
  add(
    "--protocols",
    type=_names,
    default=("published", "constrained"),
    help="how classes are scored: published (a caption's text embedding), "
    "labels (the same of labels that are asked for), constrained (the model's "
    "likelihood of each label); default: published,constrained",
  )
  add(
    "--embedder",
    default=choose.DEFAULT,
    help=f"{choose.HELP}; default: %(default)s",
  )
  add("--json", action="store_true", help="print all results as JSON")
  add("--report", action="store_true", help="make the page of the results")


def _add_judge(parser: argparse.ArgumentParser) -> None:
  """Who judges answers to open questions."""
  add = parser.add_argument_group("open-ended sets").add_argument
  add("--judge", metavar="MODEL", help="model that says whether it is answered")
  add("--judge_url", metavar="URL", help="OpenAI-compatible; default: OpenAI's")
  add(
    "--judge_prices",
    type=flags.prices,
    metavar="IN,OUT",
    help="of a million tokens, for the estimate",
  )
  add("--judge_max_cost", type=float, help="do not start above this estimate")
