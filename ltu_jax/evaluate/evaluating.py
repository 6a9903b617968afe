"""One model, asked about one set after the other, with results written."""

import dataclasses
import datetime
import functools
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from ltu_jax import processes
from ltu_jax.answers.answerer import Answerer
from ltu_jax.answers.likelihood import Likelihood, Scores
from ltu_jax.data.prompts import build_prompt, with_input
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.evaluate import (
  controls,
  identity,
  likelihoods,
  result,
  scoring,
)
from ltu_jax.evaluate.asked import Replies, ask_all
from ltu_jax.evaluate.embeddings.embedder import Embedder
from ltu_jax.evaluate.embeddings.shared import Shared
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.judging.judge import JudgeSettings
from ltu_jax.evaluate.result import ItemResult, Result
from ltu_jax.evaluate.scored import Scored
from ltu_jax.evaluate.sets.spec import Found, Item, Spec
from ltu_jax.evaluate.settings import Settings
from ltu_jax.models.ltu import LTU
from ltu_jax.progress import Tell

_STEP = 64
"""A context is a multiple of it, so that few programs serve all sets."""

_MISSING_TOLD = 20
"""Ids of missing clips that a result names."""


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """A model, and what a result says of it.

  Attributes:
    model: The model.
    tokenizer: Its tokenizer.
    mesh: The mesh that it lies on; None for one device.
    about: `name`, `source`, and what tells it from others.
    config: Of its run; {} if it is not known.
    shared: Whether it lies on the devices of several processes, which then do
      all together.
  """

  model: LTU
  tokenizer: Tokenizer
  mesh: Mesh | None
  about: Mapping[str, Any]
  config: Mapping[str, Any]
  shared: bool = False


class Evaluator:
  """Asks a model about sets; all processes make it and call it alike."""

  def __init__(
    self,
    evaluated: Evaluated,
    settings: Settings,
    out: pathlib.Path,
    *,
    embedder: Callable[[], Embedder],
    judge: JudgeSettings | None = None,
    tell: Tell = print,
  ):
    """Asks nothing yet.

    Args:
      evaluated: The model.
      settings: How is asked and scored.
      out: Where answers and results go.
      embedder: Makes the text embedder, when it is needed.
      judge: Who judges open answers; None leaves them unjudged.
      tell: Takes a line on the progress.
    """
    self.evaluated, self.settings, self.out = evaluated, settings, out
    self.embedder = functools.cache(lambda: Shared(embedder()))
    self.judge, self.tell = judge, tell

  def evaluate(self, spec: Spec, found: Found) -> Result:
    """Asks about a set, scores the answers, and writes the result.

    Args:
      spec: The set.
      found: What there is of it.

    Returns:
      The result, the same in all processes; the first has written it.

    Raises:
      EvaluateError: Answers that are there were given otherwise, or something
        that scoring needs is missing.
      AskError: The answers cannot be written.
    """
    began = time.monotonic()
    items = choose(found.items, self.settings.items)
    if not items:
      raise EvaluateError(f"{spec.title}: there is nothing to ask.")
    self.tell(f"{spec.title}: {_counts(items, found)}")
    scored = scoring.SCORE[spec.kind](self, spec, found, items)
    made = self._result(spec, found, items, scored, time.monotonic() - began)
    if jax.process_index() == 0:
      result.write(self.out, made, _lines(items, scored))
    processes.barrier(f"evaluated {spec.name}")
    return made

  def ask(
    self, spec: Spec, items: Sequence[Item], name: str = "", control: str = ""
  ) -> list[Replies]:
    """Asks about all items, or takes what was answered before.

    Args:
      spec: The set.
      items: The items, with the question that is to be asked.
      name: What kind of question it is; "" for the set's own.
      control: See controls.py.
    """
    way = self.settings.way(spec)
    heard = controls.heard_as(control, items, self.settings.seed)
    return ask_all(
      heard,
      self._answerer(heard, way.config.max_new_tokens).answers,
      way,
      self._path(spec, name, control),
      self._how(spec) | {"samples": way.samples},
      self.tell,
      alone=self.evaluated.shared,
    )

  def likelihoods(
    self,
    spec: Spec,
    items: Sequence[Item],
    answers: Sequence[str],
    control: str = "",
  ) -> list[Scores | str]:
    """How likely each answer is to each item's question.

    Args:
      spec: The set.
      items: The items, with the question that is to be asked.
      answers: What is scored.
      control: See controls.py.
    """
    evaluated = self.evaluated
    heard = controls.heard_as(control, items, self.settings.seed)
    likelihood = Likelihood(
      evaluated.model,
      evaluated.tokenizer,
      answers=answers,
      num_rows=self.settings.rows,
      mesh=evaluated.mesh,
    )
    how = {
      "model": evaluated.about["weights"],
      "answers": list(answers),
      "questions": [item.question for item in items],
      "clips": [item.audio for item in heard],
    }
    path = self._path(spec, "constrained", control)
    how = {k: identity.of_values(v) for k, v in how.items()}
    return likelihoods.score_all(
      *(heard, likelihood, len(answers), path, how, self.tell),
      alone=evaluated.shared,
    )

  def _answerer(self, items: Sequence[Item], most: int) -> Answerer:
    """What answers; made for a set's longest question."""
    evaluated = self.evaluated
    prompts = {
      build_prompt(with_input(item.question, item.input)) for item in items
    }
    longest = max(
      len(evaluated.tokenizer.encode(p, bos=True, eos=False)) for p in prompts
    )
    slots = evaluated.model.cfg.num_audio_tokens + longest + most
    return Answerer(
      evaluated.model,
      evaluated.tokenizer,
      num_rows=self.settings.rows,
      context=-(-slots // _STEP) * _STEP,
      mesh=evaluated.mesh,
    )

  def _path(self, spec: Spec, name: str, control: str) -> pathlib.Path:
    """Where the answers of a kind of question go."""
    parts = [spec.name, name, control]
    return self.out / "asked" / "-".join(part for part in parts if part)

  def _how(self, spec: Spec) -> dict[str, Any]:
    """What answers depend on, beside the questions."""
    config = self.settings.sampling(spec)
    return {
      "model": self.evaluated.about["weights"],
      "decode": dataclasses.asdict(config),
      "seed": self.settings.seed,
    }

  def _result(
    self,
    spec: Spec,
    found: Found,
    items: Sequence[Item],
    scored: Scored,
    seconds: float,
  ) -> Result:
    """The numbers with all that they depend on."""
    asked = spec.question or "in the set's own words"
    unreadable = sum(bool(error) for error in scored.errors)
    return Result(
      set=spec.name,
      title=spec.title,
      kind=spec.kind,
      model=self.evaluated.about,
      made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
      revision=identity.revision(),
      versions=identity.versions(),
      devices=identity.devices(),
      settings={
        "question": asked,
        **self.settings.as_json(spec),
        **scored.settings,
      },
      data={
        "source": identity.of_files(found.source),
        "total": found.total,
        "found": len(found.items),
        "items": len(items),
        "unreadable": unreadable,
        "missing": list(found.missing[:_MISSING_TOLD]),
      },
      config=self.evaluated.config,
      metrics=scored.metrics,
      classes=scored.classes,
      seconds=round(seconds, 1),
      published=dict(spec.published),
    )


def choose(items: Sequence[Item], most: int | None) -> list[Item]:
  """Takes items at even distances.

  Args:
    items: All.
    most: How many at most; None for all.
  """
  if most is None or len(items) <= most:
    return list(items)
  return [items[n * len(items) // most] for n in range(most)]


def _counts(items: Sequence[Item], found: Found) -> str:
  """How many items are asked about."""
  text = f"{len(items):,} items"
  if len(items) < len(found.items):
    text += f" of {len(found.items):,}"
  if found.missing:
    text += (
      f"; the sound of {len(found.missing):,} of {found.total:,} is missing, "
      f"such as {found.missing[0]}"
    )
  return text


def _lines(items: Sequence[Item], scored: Scored) -> list[ItemResult]:
  """What is written of each item."""
  return [
    ItemResult(
      id=item.id,
      audio=item.audio,
      path=str(item.path) if item.path else None,
      question=with_input(item.question, item.input),
      truth=list(item.truth),
      answers=list(scored.answers[n]),
      said=scored.said[n],
      score=scored.score[n],
      group=item.group,
      error=scored.errors[n],
    )
    for n, item in enumerate(items)
  ]
