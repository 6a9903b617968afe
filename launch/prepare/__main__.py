"""python -m launch.prepare {vm,dataflow,upload,estimate} ...

Prepares data on rented CPUs. Each command is printed before it is run, and with
--dry-run only printed. Call it in the folder of the repository.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence

from launch.prepare import commands, estimate, running, sources

_ROOT = commands.HERE.parents[1]
_BUCKET = "gs://"


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = _parser()
  args = parser.parse_args(argv)
  try:
    args.act(args)
  except (running.CommandError, ValueError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  return 0


def _vm(args: argparse.Namespace) -> None:
  """Builds on a machine that is made for it and deleted after it."""
  run = running.Runner(args.dry_run)
  vm = commands.Vm(
    args.name, args.project, args.zone, args.machine_type, args.disk_gb
  )
  build, wheel = _build(args), _wheel()
  run(vm.create())
  try:
    run(vm.ssh("true"), tries=running.TRIES)
    run(vm.copy([commands.REQUIREMENTS, wheel]))
    run(vm.ssh(vm.install(wheel)))
    run(vm.ssh(vm.build(build)))
  except BaseException:
    print(
      f"{vm.name} is still there, and costs; the build goes on where it stopped"
      " if its command is given again. Delete it with: "
      + " ".join(vm.delete()),
      file=sys.stderr,
    )
    raise
  if not args.keep:
    run(vm.delete())


def _dataflow(args: argparse.Namespace) -> None:
  """Builds on Dataflow, started from this machine."""
  run = running.Runner(args.dry_run)
  options = commands.beam_options(
    project=args.project,
    region=args.region,
    temp_location=args.temp_location or f"{_bucket(args.bucket)}/tmp",
    wheel=_wheel(),
    workers=args.workers,
  )
  build = _build(args)
  for command in commands.environment(args.venv):
    run(command)
  tfds = str(args.venv / "bin" / "tfds")
  run([*build.command(tfds), f"--beam_pipeline_options={options}"])


def _upload(args: argparse.Namespace) -> None:
  """Copies a folder of this machine into a bucket."""
  if not args.folder.is_dir():
    raise ValueError(f"{args.folder} is no folder of this machine")
  if not args.to.startswith(_BUCKET):
    raise ValueError(f"{args.to!r} is no {_BUCKET}BUCKET/FOLDER")
  running.Runner(args.dry_run)(commands.upload(args.folder, args.to))


def _estimate(args: argparse.Namespace) -> None:
  """Prints time, size, and cost where prices are given."""
  found = estimate.estimate(
    args.clips, args.questions, args.cores, args.decoder
  )
  prices = args.price_core_hour, args.price_gb_month
  print("\n".join(found.lines(*prices, args.cores)))


def _build(args: argparse.Namespace) -> commands.Build:
  """The build that the flags describe."""
  if not args.manual_dir.startswith(_BUCKET):
    raise ValueError(
      f"--manual_dir is {args.manual_dir!r}; the machines that build read"
      f" {_BUCKET}BUCKET/FOLDER (`upload` copies one there)"
    )
  data_dir = f"{_bucket(args.bucket)}/tfds"
  return commands.Build(args.manual_dir, data_dir, config=args.config)


def _bucket(name: str) -> str:
  """gs://NAME of NAME or gs://NAME."""
  name = name.removeprefix(_BUCKET).strip("/")
  if not name or "/" in name:
    raise ValueError(f"--bucket is {name!r}; give the bucket's name alone")
  return _BUCKET + name


def _wheel() -> pathlib.Path:
  """Packs the code of this repository, also in a dry run."""
  folder = _ROOT / "build"
  print(f"# packs ltu_jax and tfds_builders into {folder}", flush=True)
  return sources.write(_ROOT, folder)


def _parser() -> argparse.ArgumentParser:
  """The command line."""
  parser = argparse.ArgumentParser(
    "python -m launch.prepare", description="Prepare OpenAQA on rented CPUs."
  )
  verbs = parser.add_subparsers(required=True)

  def verb(name: str, act: Callable, help: str) -> Callable:
    made = verbs.add_parser(
      name, help=help, description=help, allow_abbrev=False
    )
    made.set_defaults(act=act)
    return made.add_argument

  text = "builds openaqa/full on a CPU machine, which is deleted at the end"
  add = verb("vm", _vm, text)
  _add_build(add)
  add("--zone", required=True, help="such as us-central1-a, near the bucket")
  add("--name", default="ltu-prepare", help="of the machine (ltu-prepare)")
  text = "(n2-standard-16: 16 cores; `estimate` says how long)"
  add("--machine-type", default="n2-standard-16", help=text)
  add("--disk-gb", type=int, default=100, help="of its boot disk (100)")
  add("--keep", action="store_true", help="do not delete it at the end")

  add = verb("dataflow", _dataflow, "builds openaqa/full on Dataflow's workers")
  _add_build(add)
  add("--region", required=True, help="such as us-central1, the bucket's")
  add("--temp_location", help="gs://; default: tmp in the bucket")
  add("--workers", type=int, default=100, help="the most of them (100)")
  text = "environment that starts it, made if need be (.venv-prepare)"
  add("--venv", type=pathlib.Path, default=".venv-prepare", help=text)

  add = verb("upload", _upload, "copies a folder into a bucket")
  add("folder", type=pathlib.Path, help="a data set, a base, questions")
  add("to", help="gs://BUCKET/FOLDER; files that are there are not sent again")
  _add_dry_run(add)

  add = verb("estimate", _estimate, "time, size and cost of a build")
  add("--clips", type=int, default=845_000, help="(845000: all of OpenAQA)")
  add("--questions", type=int, default=5_681_708, help="(5681708)")
  add("--cores", type=int, default=16, help="that work (16)")
  add("--decoder", choices=("soundfile", "tfio"), default="soundfile")
  text = "in any currency; without it no cost is told"
  add("--price-core-hour", type=float, metavar="PRICE", help=text)
  add("--price-gb-month", type=float, metavar="PRICE", help="the same")
  return parser


def _add_build(add: Callable[..., argparse.Action]) -> None:
  """Adds what both ways to build take."""
  add("--project", required=True, help="Google's project")
  add("--bucket", required=True, help="its folder tfds gets the data set")
  text = "gs:// folder of questions and sounds"
  add("--manual_dir", required=True, metavar="DIR", help=text)
  text = 'JSON of the builder\'s options, such as {"name": "x", ...}'
  add("--config", default="", metavar="JSON", help=text)
  _add_dry_run(add)


def _add_dry_run(add: Callable[..., argparse.Action]) -> None:
  """Adds --dry-run."""
  add("--dry-run", action="store_true", help="print the commands, run none")


if __name__ == "__main__":
  sys.exit(main())
