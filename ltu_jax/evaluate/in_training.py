"""Small evaluations of a model that is being trained.

WORKDIR/evaluation/stage2-step001000/SET.json: folders of results as those of
`python -m ltu_jax.evaluate`, so that `evaluate report` shows them side by side.
"""

import functools
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh

from ltu_jax import processes
from ltu_jax.bucket_scratch import shown
from ltu_jax.config import ConfigError
from ltu_jax.curriculum import Stage
from ltu_jax.data.question_source import QuestionSource
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.evaluate.embeddings.choose import embedder
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.evaluating import Evaluated, Evaluator
from ltu_jax.evaluate.result import Result
from ltu_jax.evaluate.sets import catalog, mini
from ltu_jax.evaluate.sets.spec import (
  CHOICE,
  CLASSIFICATION,
  ORDER,
  Found,
  Spec,
)
from ltu_jax.evaluate.settings import Settings
from ltu_jax.metrics import Metrics
from ltu_jax.models.ltu import LTU

_KINDS = (CLASSIFICATION, ORDER, CHOICE)
"""What is scored by the model alone: no text embeddings, Java, or judge."""


class SetsInTraining:
  """The sets of `config.eval.sets`, asked about every so often."""

  def __init__(
    self,
    config: Mapping[str, Any],
    root: pathlib.Path,
    test_set: QuestionSource | None,
  ):
    """Reads the sets; asks nothing yet.

    Args:
      config: The run's config.
      root: The run's folder.
      test_set: The run's held-out questions, for openaqa/mini; None without.

    Raises:
      ConfigError: A set is not there, or needs more than the model.
    """
    self._config, self._root = config, root
    self._every = config["eval"]["sets_every"]
    names = [n.strip() for n in config["eval"]["sets"].split(",") if n.strip()]
    try:
      self._found = _find(names, config["eval"]["sets_dir"], test_set)
    except EvaluateError as error:
      raise ConfigError(f"config.eval.sets: {error}") from error

  def due(self, step: int) -> bool:
    """Whether the sets are to be asked about before a step."""
    return bool(self._found and self._every and step % self._every == 0)

  def __call__(
    self,
    model: LTU,
    tokenizer: Tokenizer,
    mesh: Mesh,
    metrics: Metrics,
    stage: Stage,
    step: int,
  ) -> list[Result]:
    """Asks about all sets, and writes the numbers.

    Every process must call it: together they ask the same.

    Args:
      model: As it is now, on the run's mesh.
      tokenizer: Of the run.
      mesh: The run's.
      metrics: Where the numbers go.
      stage: What is being trained.
      step: Steps of it that are done.
    """
    if not self._found:
      return []
    name = f"stage{stage.number}-step{step:06d}"
    out = self._root / "evaluation" / name
    # Of a run that was killed here: the processes may differ in what is done.
    # Every one of them, as each may have a disk of its own.
    shutil.rmtree(out, ignore_errors=True)
    processes.barrier(f"evaluation {name}")
    about = {
      "name": name,
      "source": shown(self._root),
      "stage": stage.number,
      "step": step,
      "weights": name,
    }
    chosen = self._config["eval"]
    settings = Settings(
      items=chosen["sets_items"],
      decode="greedy",
      max_new_tokens=chosen["max_new_tokens"],
      protocols=("constrained",),
      rows=chosen["batch_size"],
    )
    evaluator = Evaluator(
      Evaluated(model, tokenizer, mesh, about, {}, shared=True),
      settings,
      out,
      embedder=functools.partial(embedder, "minilm", None),
      tell=lambda _: None,
    )
    results = [evaluator.evaluate(*pair) for pair in self._found]
    values, words = _numbers(results)
    metrics.show(stage.number, step, values)
    metrics.print(f"stage {stage.number}  step {step}  evaluated: {words}")
    return results


def _numbers(results: list[Result]) -> tuple[dict[str, float], str]:
  """The numbers for TensorBoard by name, and the gist in words."""
  values, words = {}, []
  for result in results:
    for metric in result.metrics:
      if metric.value is not None:
        name = re.sub(r"\W+", "_", f"{metric.name} {metric.protocol}".strip())
        values[f"eval/{result.set}/{name}"] = metric.value
    best = result.headline or result.metrics[0]
    words.append(f"{result.set} {best.name} {100 * best.value:.1f} %")
  return values, ", ".join(words)


def _find(
  names: list[str], folder: str, test_set: QuestionSource | None
) -> list[tuple[Spec, Found]]:
  """Reads the sets; raises EvaluateError."""
  if not names:
    return []
  published = [name for name in names if name not in mini.NAMES]
  if published and not folder:
    raise EvaluateError(
      f"{published[0]} needs config.eval.sets_dir, the folder of the sets'"
      " folders."
    )
  found = []
  if published:
    there = catalog.find_all(pathlib.Path(folder), published)
    found = [(catalog.SETS[name], there[name]) for name in published]
  for spec in mini.specs(lambda: test_set):
    if spec.name in names:
      if test_set is None:
        raise EvaluateError(
          f"{spec.name}: the data of the run has no held-out clips."
        )
      found.append((spec, spec.find(pathlib.Path())))
  for spec, _ in found:
    if spec.kind not in _KINDS:
      raise EvaluateError(
        f"{spec.name}: {spec.kind} sets are not evaluated during training, as"
        " they are not scored by the model alone; python -m ltu_jax.evaluate"
        " does it afterwards."
      )
  return found
