"""Asks a trained model about sounds, on the command line.

  python -m ltu_jax.ask --workdir=runs/quickstart clip.wav "What can be heard?"
  python -m ltu_jax.ask --bundle=ltu-bundle clip.wav "What can be heard?"

The last argument is the question; those before it are sound files, of which
each gets an answer. Without a sound file the model answers from text alone.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ltu_jax.audio.decode import SAMPLE_RATE, AudioError, decode

if TYPE_CHECKING:
  from ltu_jax.data.tokenizer import Tokenizer
  from ltu_jax.models.ltu import LTU
  from ltu_jax.sampling import SamplingConfig

_HEARD_SECONDS = 10.255
"""What the encoder hears: 400 + 1023 * 160 samples at 16 kHz."""

_SHORTEST = 400
"""Samples of one frame of 25 ms at 16 kHz."""

_ROWS = 16
"""Clips that are answered together, to bound memory."""


class AskError(ValueError):
  """A mistake of the user's; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Answer:
  """One answer.

  Attributes:
    audio: The sound file, None for a question without sound.
    question: What was asked.
    answer: Text of the answer.
    finished: Whether the model ended it; False if it was cut at the limit.
  """

  audio: str | None
  question: str
  answer: str
  finished: bool


def answer(
  model: "LTU",
  tokenizer: "Tokenizer",
  question: str,
  clips: Sequence[np.ndarray | None],
  config: "SamplingConfig",
  seed: int = 0,
) -> list[tuple[str, bool]]:
  """Asks the same question about every clip.

  Args:
    model: The model.
    tokenizer: Its tokenizer.
    question: In plain words; the prompt around it is added here.
    clips: int16 [samples] at 16 kHz each, None for no sound.
    config: How tokens are chosen.
    seed: Of the draws; each clip's draws depend on it and the clip's place.

  Returns:
    Text, and whether it ended by itself, for every clip.
  """
  # JAX is imported late, so that a mistyped file name is told at once.
  import jax

  from ltu_jax import generate
  from ltu_jax.data.prompts import build_prompt

  prompt = tokenizer.encode(build_prompt(question), bos=True, eos=False)
  keys = jax.random.split(jax.random.key(seed), len(clips))
  answers = []
  for start in range(0, len(clips), _ROWS):
    part = slice(start, start + _ROWS)
    pcm, num_samples = generate.batch_clips(clips[part])
    answers += generate.generate(
      model,
      [prompt] * len(pcm),
      pcm=pcm,
      num_samples=num_samples,
      config=config,
      eos_id=tokenizer.eos_id,
      key=keys[part],
    )
  eos = tokenizer.eos_id
  return [(tokenizer.decode(ids).strip(), ids[-1] == eos) for ids in answers]


def read_clip(path: str | os.PathLike) -> np.ndarray:
  """Decodes a sound file and warns about what the model cannot make use of.

  Args:
    path: Any file that soundfile reads.

  Returns:
    int16 [samples] at 16 kHz, the first 11 seconds at most.

  Raises:
    AskError: It is missing, no sound, or shorter than 25 ms.
  """
  try:
    # A little more than is heard, to notice that there is more.
    clip = decode(path, max_seconds=_HEARD_SECONDS + 0.5)
  except AudioError as error:
    hint = ""
    if not os.path.exists(path) and not pathlib.Path(path).suffix:
      hint = " (put the question in quotes)"
    raise AskError(f"{error}{hint}") from error
  if len(clip) < _SHORTEST:
    raise AskError(
      f"{path}: {len(clip) / SAMPLE_RATE * 1000:.1f} ms of sound are too "
      "short; at least 25 ms are needed."
    )
  if not clip.any():
    _warn(f"{path}: this clip is digital silence.")
  if len(clip) > _HEARD_SECONDS * SAMPLE_RATE:
    _warn(f"{path}: only the first {_HEARD_SECONDS:.2f} s are heard.")
  return clip


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line.

  Args:
    argv: Arguments; None takes the process's.

  Returns:
    Exit status: 0, or 2 after a mistake of the user's, told in one line.
  """
  args = _parser().parse_args(argv)
  try:
    for result in _ask(args):
      if args.json:
        print(json.dumps(dataclasses.asdict(result), ensure_ascii=False))
      elif len(args.inputs) > 2:
        print(f"{result.audio}: {result.answer}")
      else:
        print(result.answer)
  except AskError as error:
    print(f"ask: {error}", file=sys.stderr)
    return 2
  return 0


def _ask(args: argparse.Namespace) -> list[Answer]:
  """Checks everything that is quick to check, then loads and answers."""
  *paths, question = args.inputs
  if os.path.isfile(question):
    raise AskError(
      f"the question is missing: the last argument, {question}, is a file. "
      'For example: ask clip.wav "What can be heard?"'
    )
  if not question.strip():
    raise AskError("the question is empty.")
  clips = [read_clip(path) for path in paths] or [None]
  config = _sampling(args)
  model, tokenizer = _load(args.workdir, args.bundle)
  answers = answer(model, tokenizer, question, clips, config, args.seed)
  return [
    Answer(path, question, text, finished)
    for path, (text, finished) in zip(paths or [None], answers, strict=True)
  ]


def _sampling(args: argparse.Namespace) -> "SamplingConfig":
  """The settings of the command line."""
  from ltu_jax.sampling import SamplingConfig

  names = [field.name for field in dataclasses.fields(SamplingConfig)]
  try:
    return SamplingConfig(**{name: getattr(args, name) for name in names})
  except ValueError as error:
    raise AskError(str(error)) from error


def _load(workdir: str | None, bundle: str | None) -> tuple["LTU", "Tokenizer"]:
  """Loads the trained model of a run or of a bundle."""
  from ltu_jax.bundle import load_model
  from ltu_jax.checkpoint import CheckpointError
  from ltu_jax.config import ConfigError
  from ltu_jax.convert.tensors import ConversionError

  try:
    trained = load_model(workdir, bundle)
  except (
    CheckpointError,
    ConfigError,
    ConversionError,
    FileNotFoundError,
  ) as error:
    raise AskError(str(error)) from error
  return trained.model, trained.tokenizer


def _warn(text: str) -> None:
  """Prints a warning to standard error."""
  print(f"ask: warning: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
  """The command line."""
  parser = argparse.ArgumentParser(
    prog="python -m ltu_jax.ask",
    description="Ask a trained model about sounds.",
    epilog="example: python -m ltu_jax.ask --workdir=runs/quickstart clip.wav "
    '"What can be heard?"',
    allow_abbrev=False,
  )
  add = parser.add_argument
  add(
    "inputs",
    nargs="+",
    metavar="clip ... question",
    help="sound files (none: the model answers from text alone), and the "
    "question in quotes",
  )
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a trained run")
  source.add_argument("--bundle", help="folder that convert export made")
  add("--json", action="store_true", help="print a JSON object for each clip")
  add(
    "--temperature",
    type=float,
    default=0.0,
    help="0 (default): the most likely answer; published: 0.1",
  )
  add("--top_p", type=float, default=0.95, help="default: %(default)s")
  add("--top_k", type=int, default=500, help="0: all; default: %(default)s")
  add(
    "--repetition_penalty",
    type=float,
    default=1.0,
    help="1 (default): none; published: 1.1",
  )
  add("--max_new_tokens", type=int, default=400, help="default: %(default)s")
  add("--seed", type=int, default=0, help="of the draws; default: 0")
  return parser


if __name__ == "__main__":
  sys.exit(main())
