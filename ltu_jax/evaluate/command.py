"""Runs the command line: loads, asks set after set, prints the table."""

import argparse
import contextlib
import dataclasses
import functools
import json
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ltu_jax import compile_cache, default_config, model_flags, processes
from ltu_jax.bundle import LOAD_ERRORS
from ltu_jax.data import prepare
from ltu_jax.data.bucket import is_bucket
from ltu_jax.data.question_source import QuestionSource, RecordError
from ltu_jax.endpoint.errors import EndpointError
from ltu_jax.evaluate import identity, table
from ltu_jax.evaluate.embeddings.choose import embedder
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.evaluating import Evaluated, Evaluator
from ltu_jax.evaluate.judging.judge import JudgeSettings
from ltu_jax.evaluate.result import Result
from ltu_jax.evaluate.sets import catalog, mini
from ltu_jax.evaluate.sets.spec import Found, Spec
from ltu_jax.evaluate.settings import Settings
from ltu_jax.trained import Trained

ERRORS = (
  *LOAD_ERRORS,
  EndpointError,
  EvaluateError,
  prepare.PrepareError,
  processes.ProcessError,
  RecordError,
)
"""What ends the command with one line."""

_CONTENT = ("name", "sounds_dir", "num_train", "num_test")
"""Fields of config.data that say what is in the data set."""

_OPENING = (*_CONTENT, "dir", "prepare")
"""Those that open it."""

_EMBEDDINGS = compile_cache.default_folder().parent / "embeddings"
"""Vectors of texts, which all evaluations share: an endpoint's cost money."""

_DEFAULT = default_config.get_config()


def run(args: argparse.Namespace) -> int:
  """Evaluates, prints, and makes the page if it is wanted.

  Args:
    args: See cli.py.

  Returns:
    Exit status.
  """
  # Standard output is for the results alone.
  with contextlib.redirect_stdout(sys.stderr):
    results, out = _evaluate(args)
  if jax.process_index() == 0:
    if args.json:
      print(json.dumps([*map(dataclasses.asdict, results)], allow_nan=False))
    else:
      print(table.render(results))
    _say(f"results and answers are in {out}")
    if args.report:
      report([out], None, (), args.data_dir)
  return 0


def _evaluate(args: argparse.Namespace) -> tuple[list[Result], pathlib.Path]:
  """Asks about all sets; returns the results, and where they are."""
  processes.start(
    coordinator=args.coordinator,
    num_processes=args.num_processes,
    process_id=args.process_id,
  )
  if why := compile_cache.enable(args.compile_cache):
    _say(f"warning: {why}")
  # Before the model, which may take minutes to load.
  found = _published(args)
  evaluated = _load(args)
  mine = mini.specs(functools.partial(_held_out, args, evaluated.config))
  for spec in mine:
    if spec.name in args.sets or "all" in args.sets:
      found.append((spec, spec.find(pathlib.Path())))
  out = _out(args)
  evaluator = Evaluator(
    evaluated,
    _settings(args),
    out,
    embedder=functools.partial(embedder, args.embedder, _EMBEDDINGS),
    judge=_judge(args),
    tell=_say if jax.process_index() == 0 else lambda _: None,
  )
  return [evaluator.evaluate(spec, there) for spec, there in found], out


def report(
  folders: Sequence[pathlib.Path],
  out: pathlib.Path | None,
  allow: Sequence[str],
  data_dir: str,
) -> None:
  """Makes the page of results.

  Args:
    folders: Of results, one a checkpoint.
    out: Where it goes; None is `report` in the first folder.
    allow: What may differ between checkpoints.
    data_dir: TFDS's folder, to play the clips of openaqa/mini.
  """
  from ltu_jax.evaluate import player
  from ltu_jax.evaluate.page import report as page

  made = page.report(
    folders,
    out or folders[0] / "report",
    allow,
    player.load_audio(folders, data_dir),
  )
  _say(f"the page is {made[0]}")


def _published(args: argparse.Namespace) -> list[tuple[Spec, Found]]:
  """Reads the sets that are in folders."""
  wanted = [name for name in args.sets if name not in mini.NAMES]
  if not wanted:
    return []
  found = []
  for name, there in catalog.find_all(pathlib.Path(args.data), wanted).items():
    if isinstance(there, Found):
      found.append((catalog.SETS[name], there))
    else:
      _say(f"{name} is left out: {there}")
  return found


def _load(args: argparse.Namespace) -> Evaluated:
  """Loads the model."""
  trained, mesh = model_flags.load(args)
  folder = pathlib.Path(args.workdir or args.bundle)
  about = {
    "name": args.name or folder.resolve().name,
    "source": args.workdir or args.bundle,
    "stage": trained.stage.number if trained.stage else None,
    "weights": identity.of_model(trained.model),
    "dtype": args.dtype,
    "base_dtype": args.base_dtype,
  }
  return Evaluated(
    trained.model, trained.tokenizer, mesh, about, _config(trained)
  )


def _config(trained: Trained) -> Mapping[str, Any]:
  """The run's config as plain values."""
  return json.loads(json.dumps(trained.config, default=list))


def _out(args: argparse.Namespace) -> pathlib.Path:
  """Where results go; empty if all is to be asked anew."""
  if not args.out and args.workdir and is_bucket(args.workdir):
    raise EvaluateError(
      f"--workdir={args.workdir} is in a bucket, and results are written to a"
      " disk: name a folder by --out"
    )
  model = pathlib.Path(args.workdir or args.bundle)
  out = pathlib.Path(args.out or model / "evaluation")
  if args.again:  # every process, as each may have a disk of its own
    shutil.rmtree(out / "asked", ignore_errors=True)
  processes.barrier("evaluation's folder")
  return out


def _settings(args: argparse.Namespace) -> Settings:
  """How is asked and scored."""
  return Settings(
    items=args.items,
    decode=args.decode or "",
    max_new_tokens=args.max_new_tokens,
    seed=args.seed,
    samples=args.samples,
    protocols=tuple(args.protocols),
    controls=tuple(args.controls),
    rows=args.rows,
  )


def _held_out(
  args: argparse.Namespace, config: Mapping[str, Any]
) -> QuestionSource:
  """The held-out questions: the run's where its folder is given."""
  own = {k: v for k, v in (config.get("data") or {}).items() if k in _OPENING}
  default = {k: _DEFAULT.data[k] for k in _OPENING}
  data = default | (own if args.workdir else {})
  if args.data_dir:
    data["dir"] = args.data_dir
  differing = [k for k, v in own.items() if k in _CONTENT and v != data[k]]
  if differing:
    _say(
      "warning: the model was trained on a data set with other "
      f"{', '.join(sorted(differing))}: it may know clips that are held out "
      "here"
    )
  _, test_set = prepare.open_splits(data)
  if test_set is None:
    raise prepare.PrepareError(
      f"{data['name']} has no held-out clips (it has no split `test`); to ask"
      " about those of openaqa/mini, make a bundle with `python -m"
      " ltu_jax.convert export` and give --bundle"
    )
  return test_set


def _judge(args: argparse.Namespace) -> JudgeSettings | None:
  """Who judges open answers."""
  if not args.judge:
    return None
  return JudgeSettings(
    model=args.judge,
    base_url=args.judge_url,
    prices=args.judge_prices,
    max_cost=args.judge_max_cost,
  )


def _say(text: str) -> None:
  """Prints a line on standard error, where it is not in the way."""
  print(f"evaluate: {text}", file=sys.stderr, flush=True)
