"""The command `make`: from labelled sounds to closed-ended questions."""

import argparse
import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ltu_jax.aqa import features, making, output, paraphrases, recipe
from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.making import Finder, Job, Made
from ltu_jax.aqa.output import Output
from ltu_jax.aqa.sources.catalog import KINDS, Source
from ltu_jax.evaluate.progress import Progress
from ltu_jax.evaluate.sets.audio_files import AudioFiles

_LARGEST_SEED = 2**32 - 1

_KINDS = "; ".join(f"{name}: {kind.files}" for name, kind in KINDS.items())


def add_parser(commands: Any) -> None:
  """Adds the command `make` to argparse's subparsers."""
  parser = commands.add_parser(
    "make",
    help="make closed-ended questions from labelled sounds",
    description="Make closed-ended questions in OpenAQA's format from sounds "
    "with labels or captions.",
    epilog="example: python -m ltu_jax.aqa make "
    "--source=clotho:clotho_captions_development.csv --audio=sounds --out=aqa",
    allow_abbrev=False,
  )
  add = parser.add_argument_group("what there is").add_argument
  add(
    "--source",
    action="append",
    required=True,
    metavar="KIND[@NAME]:PATH[,PATH]",
    help="labels or captions in their owners' format; may be given several "
    f"times; NAME is what the data set is called in questions. {_KINDS}",
  )
  add(
    "--audio",
    type=pathlib.Path,
    metavar="DIR",
    help="folder of all sounds, in any folders below it; default: the folder, "
    "if one folder is the only source",
  )
  add(
    "--keep_missing",
    action="store_true",
    help="ask also about clips whose sound is not there; --audio may lack then",
  )
  add("--limit", type=_positive, metavar="N", help="of each source N clips")
  add = parser.add_argument_group("how it is asked").add_argument
  add("--seed", type=int, default=0, help="of all choices; default: 0")
  add(
    "--features",
    type=pathlib.Path,
    metavar="FILE",
    help="acoustic features of labels: a table with tabs and the columns label "
    "and feature, or a JSON object",
  )
  add(
    "--recipe",
    default=recipe.PUBLISHED,
    metavar="FILE",
    help="how often each data set is asked about, and how: a JSON file, "
    "published (the default: Clotho twice, SoundBible ten times, half of the "
    "questions with a prefix) or plain (each clip once, no prefix)",
  )
  add(
    "--repeat",
    action="append",
    default=[],
    metavar="NAME=NUMBER",
    help="changes the recipe for a data set; 0.1 takes every tenth clip",
  )
  add(
    "--closed_prefix",
    type=float,
    metavar="P",
    help='share of questions that begin with "Closed-ended question: "; '
    "default: the recipe's",
  )
  add(
    "--paraphrases",
    type=pathlib.Path,
    metavar="FILE",
    help="ways to ask, in the form of ltu_jax/aqa/many_paraphrases.txt",
  )
  add = parser.add_argument_group("what is made").add_argument
  add(
    "--out",
    type=pathlib.Path,
    required=True,
    metavar="DIR",
    help=f"{output.CLOSED}, {output.RECORDS}, {output.MISSING}, "
    f"{output.COMPOSITION} and {output.COMPOSITION_TEXT}",
  )
  add(
    "--tfds",
    type=pathlib.Path,
    metavar="DIR",
    help="build openaqa/full in this folder, of what was made "
    f"and of {output.OPEN} if --out has it",
  )
  add(
    "--processes",
    type=_positive,
    default=making.cores(),
    help="that make questions; default: one a core",
  )


def _positive(text: str) -> int:
  """Reads a number of 1 or more."""
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f"{value}: it must be 1 or more")
  return value


def run(args: argparse.Namespace) -> int:
  """Makes the questions.

  Args:
    args: What the parser read.

  Returns:
    Exit status, 0.

  Raises:
    AqaError: An argument or a file is wrong; says what to do.
    EvaluateError: A table is damaged; names file and line.
  """
  tell = functools.partial(print, file=sys.stderr, flush=True)
  sources = [Source.parse(text) for text in args.source]
  audio = _audio(args, sources)
  job = _job(args)
  tell("aqa: reading the tables ...")
  total = _count(sources, args.limit)
  files = _files(audio, args, tell)
  with Output(args.out) as out:
    finder = Finder(job, files, out, args.keep_missing)
    progress = Progress("aqa: clips", total, 0, tell)
    clips = finder.choose(_watched(sources, args.limit, progress))
    counted = finder.counted

    def write(made: Made) -> None:
      """Takes what came of some clips."""
      out.add_questions(made.entries)
      out.add_records(made.records)
      counted.merge(made.composition)

    making.run(job, clips, args.processes, write)
    clips_made = counted.as_json()["clips"]
    if not clips_made["asked"] + clips_made["nothing_asked"]:
      raise AqaError(_nothing(clips_made, audio))
    composition = {"made": _made(args, job), **counted.as_json()}
    out.finish(composition, counted.as_markdown())
  _tell_end(composition, args.out, tell)
  if args.tfds:
    from ltu_jax.aqa import tfds_build

    folder = tfds_build.build(args.out, audio, args.tfds)
    tell(f"aqa: TFDS's data set is in {folder}")
  return 0


def _audio(
  args: argparse.Namespace, sources: Sequence[Source]
) -> pathlib.Path | None:
  """Folder of the sounds."""
  folder = args.audio
  if folder is None and len(sources) == 1 and sources[0].kind == "folder":
    folder = sources[0].paths[0]
  if folder is None and (args.tfds or not args.keep_missing):
    raise AqaError(
      "--audio is needed, the folder of the sounds; or --keep_missing, to ask "
      "without looking for them."
    )
  if folder is not None and not folder.is_dir():
    raise AqaError(f"--audio={folder}: is no folder.")
  return folder


def _job(args: argparse.Namespace) -> Job:
  """What decides the questions."""
  if not 0 <= args.seed <= _LARGEST_SEED:
    raise AqaError(f"seed is {args.seed}; it must be 0 to 2^32 - 1.")
  how = recipe.read(args.recipe)
  for text in args.repeat:
    how = how.with_repeat(text)
  if args.closed_prefix is not None:
    prefix = recipe.check_prefix(args.closed_prefix, "--closed_prefix")
    how = dataclasses.replace(how, closed_prefix=prefix)
  ways = (
    paraphrases.read(args.paraphrases)
    if args.paraphrases
    else paraphrases.load(paraphrases.MANY)
  )
  table = features.read(args.features) if args.features else {}
  return Job(how, ways, table, args.seed)


def _count(sources: Sequence[Source], limit: int | None) -> int:
  """Counts all clips: the tables are read to their ends before any is used.

  What is wrong in the last line is told after a minute, not after an hour.
  """
  total = 0
  for source in sources:
    count = sum(1 for _ in making.listed([source], limit))
    if not count:
      raise AqaError(f"{source.paths[0]}: lists no clips.")
    total += count
  return total


def _files(
  audio: pathlib.Path | None,
  args: argparse.Namespace,
  tell: Callable[[str], None],
) -> AudioFiles | None:
  """Lists the sounds."""
  if audio is None:
    return None
  tell("aqa: listing the sounds ...")
  files = AudioFiles(audio)
  tell(f"aqa: {len(files)} sound files")
  if not len(files) and not args.keep_missing:
    raise AqaError(f"--audio={audio}: has no sounds in it, or below.")
  return files


def _watched(sources: Sequence[Source], limit: int | None, progress: Progress):
  """Yields all clips, and tells how far that is."""
  for clip in making.listed(sources, limit):
    yield clip
    progress.advance()


def _nothing(clips: dict[str, int], audio: pathlib.Path | None) -> str:
  """Says why there is no question."""
  if clips["missing"] == clips["listed"]:
    return (
      f"none of the {clips['listed']} sounds that the tables list is in "
      f"{audio}; give their folder with --audio."
    )
  what = ", ".join(f"{count} {kind}" for kind, count in clips.items() if count)
  return f"no question can be asked: {what}."


def _made(args: argparse.Namespace, job: Job) -> dict[str, Any]:
  """What the questions were made by."""
  return {
    "sources": args.source,
    "limit": args.limit,
    "seed": job.seed,
    "recipe": job.recipe.as_json(),
    "features": str(args.features) if args.features else None,
    "paraphrases": str(args.paraphrases) if args.paraphrases else None,
  }


def _tell_end(
  composition: dict[str, Any],
  out: pathlib.Path,
  tell: Callable[[str], None],
) -> None:
  """Says what was made, and what was not there."""
  clips = composition["clips"]
  tell(
    f"aqa: {composition['questions']} questions about {clips['asked']} of "
    f"{clips['listed']} clips in {out}"
  )
  for name, part in composition["datasets"].items():
    if missing := part["clips"]["missing"]:
      tell(
        f"aqa: {name}: {missing} of {part['clips']['listed']} sounds are not "
        f"there; {out / output.MISSING} names them"
      )
  if lacking := composition["labels_without_feature"]:
    tell(
      f"aqa: {len(lacking)} labels have no acoustic feature, such as "
      f"{next(iter(lacking))!r}; give a table with --features"
    )
