"""The model that the command line names, and what answers with it."""

import argparse
import dataclasses

from jax.sharding import Mesh

from ltu_jax import model_flags, sampling
from ltu_jax.answers.answerer import Answerer
from ltu_jax.ask.errors import AskError
from ltu_jax.ask.searching import Searcher
from ltu_jax.bundle import LOAD_ERRORS
from ltu_jax.data.prompts import build_prompt
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.models.ltu import LTU
from ltu_jax.sampling import SamplingConfig

MANY_CONTEXT = 1024
"""Slots where questions are not known before: --input, --chat."""

_STEP = 64
"""A context is a multiple of it, so that few programs serve all questions."""

_DEFAULT = SamplingConfig(
  temperature=0.0,
  top_p=0.95,
  top_k=500,
  repetition_penalty=1.0,
  max_new_tokens=400,
)


@dataclasses.dataclass(frozen=True)
class Loaded:
  """A model on its devices.

  Attributes:
    model: The model.
    tokenizer: Its tokenizer.
    mesh: The mesh that it lies on; None for one device.
  """

  model: LTU
  tokenizer: Tokenizer
  mesh: Mesh | None


def sampling_config(args: argparse.Namespace) -> SamplingConfig:
  """The settings of the command line, over --published or today's defaults.

  Raises:
    AskError: One is out of its range, or does not go with --beams.
  """
  base = sampling.PUBLISHED if args.published else _DEFAULT
  names = [field.name for field in dataclasses.fields(SamplingConfig)]
  given = {n: getattr(args, n) for n in names if getattr(args, n) is not None}
  try:
    config = dataclasses.replace(base, **given)
  except ValueError as error:
    raise AskError(str(error)) from error
  if args.beams and not config.greedy:
    raise AskError(
      "--beams searches, and draws nothing: temperature must be 0."
    )
  return config


def load(args: argparse.Namespace) -> Loaded:
  """Loads the trained model of a run or of a bundle.

  Raises:
    AskError: There is none, it is damaged, or does not fit the mesh.
  """
  try:
    trained, mesh = model_flags.load(args)
  except LOAD_ERRORS as error:
    raise AskError(str(error)) from error
  if args.beams and args.beams >= trained.model.cfg.llama.vocab:
    raise AskError(
      f"beams is {args.beams}; it must be below the vocabulary's "
      f"{trained.model.cfg.llama.vocab} tokens."
    )
  return Loaded(trained.model, trained.tokenizer, mesh)


def answerer(loaded: Loaded, *, rows: int, context: int) -> Answerer:
  """What draws answers."""
  return Answerer(
    loaded.model,
    loaded.tokenizer,
    num_rows=rows,
    context=context,
    mesh=loaded.mesh,
  )


def searcher(loaded: Loaded, *, rows: int, beams: int) -> Searcher:
  """What searches for answers."""
  return Searcher(
    loaded.model,
    loaded.tokenizer,
    beams=beams,
    num_rows=rows,
    mesh=loaded.mesh,
  )


def needed_context(loaded: Loaded, question: str, most: int) -> int:
  """Slots that a question takes with a sound and the longest answer.

  Args:
    loaded: The model.
    question: What is asked.
    most: Tokens of the longest answer.
  """
  prompt = loaded.tokenizer.encode(build_prompt(question), bos=True, eos=False)
  slots = loaded.model.cfg.num_audio_tokens + len(prompt) + most
  return -(-slots // _STEP) * _STEP
