"""The end of a run: tables of losses and accuracy, clips to read, a picture.

Written to the run's folder as report.json (all numbers), report.md and
curves.png, and printed.
"""

import datetime
import json
import math
import pathlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import jax

from ltu_jax import __version__, losses
from ltu_jax import config as config_lib
from ltu_jax.bucket_scratch import shown
from ltu_jax.data.question_source import PrepareError, QuestionSource
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.evaluate import curves, held_out, markdown, samples
from ltu_jax.evaluate.answering import answerer
from ltu_jax.evaluate.held_out import Result
from ltu_jax.evaluate.samples import Sample
from ltu_jax.evaluate.score import Score
from ltu_jax.losses import StageCurve
from ltu_jax.models.ltu import LTU

_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain")

_SAMPLES = 5

NO_TEST_SPLIT = (
  "The data set has no test split: nothing was asked, and the losses above are"
  " of training alone."
)
"""What the report says in place of held-out scores."""


def final(
  root: pathlib.Path,
  config: Mapping[str, Any],
  model: LTU,
  tokenizer: Tokenizer,
  test_set: QuestionSource | None,
) -> None:
  """Evaluates the trained model, prints and writes the report.

  Does nothing if `config.eval.final_items` is 0.

  Args:
    root: The run's folder, with its metrics.jsonl.
    config: The run's config.
    model: The trained model.
    tokenizer: Its tokenizer.
    test_set: The held-out questions; None if there are none, which leaves the
      losses.
  """
  items = config["eval"]["final_items"]
  if not items:
    return
  if test_set is None:
    if jax.process_index() == 0:
      stages = losses.read(root / "metrics.jsonl", config_lib.stages(config))
      write(root, config, stages, None, [], NO_TEST_SPLIT)
    return
  print("\nevaluating on held-out clips ...", flush=True)
  settings = held_out.settings(config, items)
  result = held_out.evaluate(model, tokenizer, test_set, settings)
  answer = answerer(model, tokenizer, settings.max_new_tokens)
  asked = samples.ask(answer, test_set, _SAMPLES)
  if jax.process_index() == 0:
    stages = losses.read(root / "metrics.jsonl", config_lib.stages(config))
    # Here, as the builders need TensorFlow and made-up data must not.
    from ltu_jax.data import prepare

    split = split_statement(test_set, prepare.recordings(config["data"]))
    write(root, config, stages, result, asked, split)


def write(
  root: pathlib.Path,
  config: Mapping[str, Any],
  stages: Sequence[StageCurve],
  result: Result | None,
  asked: Sequence[Sample],
  split: str,
) -> None:
  """Prints and writes the report.

  Args:
    root: The run's folder.
    config: The run's config.
    stages: The recorded losses.
    result: The held-out scores; None if there are no held-out clips.
    asked: Clips to read.
    split: How test and training data are kept apart, in a sentence.
  """
  text = render(stages, result, asked, split)
  print("\n" + text, flush=True)
  files = ["report.md", "report.json"]
  if any(len(stage.step) for stage in stages):
    files.append("curves.png")
    curves.draw(stages, root / "curves.png")
    text += "\n![Loss and learning rate](curves.png)\n"
  else:
    text += "\nNo curves: there is no metrics.jsonl of this run.\n"
  (root / "report.md").write_text(text, encoding="utf-8")
  numbers = {
    "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "versions": {"python": platform.python_version(), "ltu_jax": __version__}
    | {name: metadata.version(name) for name in _PACKAGES},
    "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "split": split,
    "stages": [stage.as_json() for stage in stages],
    "held_out": result.as_json() if result else None,
    "samples": [vars(sample) for sample in asked],
    "config": _plain(config),
  }
  (root / "report.json").write_text(
    json.dumps(numbers, indent=2, allow_nan=False) + "\n", encoding="utf-8"
  )
  print(f"the report is in {shown(root)}: {', '.join(files)}", flush=True)


def render(
  stages: Sequence[StageCurve],
  result: Result | None,
  asked: Sequence[Sample],
  split: str,
) -> str:
  """Returns the report as Markdown that is aligned for reading as it is."""
  loss_rows = [
    (
      f"{stage.number} {stage.name}",
      f"{len(stage.step) and stage.step[-1]:,}",
      *(_number(x) for x in _losses(stage)),
    )
    for stage in stages
  ]
  parts = [
    "## Loss per stage",
    markdown.table(
      ("stage", "steps", "first", "last", "mean of last 10 %"), loss_rows
    ),
    "## Held-out clips",
    split,
  ]
  if result is not None:
    parts += [
      render_result(result),
      f"## {len(asked)} held-out clips, chosen by their place in the data",
      *(_sample(sample) for sample in asked),
    ]
  return "\n\n".join(parts) + "\n"


def render_result(result: Result) -> str:
  """Returns the table of held-out accuracies, with notes, as Markdown."""
  classes = "; ".join(
    f"{name} {score.hits}/{score.count}"
    for name, score in result.per_class.items()
  )
  parts = [
    markdown.table(
      ("question", "right", "of", "95 %", "chance", "without audio"),
      _accuracy_rows(result),
    ),
    _notes(result),
    f"Right answers by class: {classes}.",
  ]
  return "\n\n".join(parts)


def split_statement(
  test_set: QuestionSource, listed: Mapping[str, set[tuple[str, str]]]
) -> str:
  """Checks that no test recording is in training, and says so in a sentence.

  Args:
    test_set: The held-out questions; their clips tell what they are made of.
    listed: (class, recording) by split, from `prepare.recordings`.

  Raises:
    PrepareError: A recording is on both sides; every number would be void.
  """
  if not listed:
    return "The data set does not tell which recordings its clips are made of."
  heard = set()
  for clip in test_set.clips:
    events = clip["events"]
    pairs = zip(events["label"], events["recording"], strict=True)
    heard |= {(label.decode(), name.decode()) for label, name in pairs}
  if both := sorted((heard | listed["test"]) & listed["train"]):
    raise PrepareError(
      f"the recording {both[0]} is in training and in testing; remove the data"
      " set and have it built again"
    )
  return (
    "No test recording is in training: the clips are split by recording,"
    f" {len(listed['train'])} to learn from and {len(heard)} others to test on."
  )


def _losses(stage: StageCurve) -> tuple[float, float, float]:
  """First, last and mean end loss; NaN for a stage without steps."""
  if not len(stage.loss):
    return math.nan, math.nan, math.nan
  return float(stage.loss[0]), float(stage.loss[-1]), stage.last_tenth


def _accuracy_rows(result: Result) -> list[tuple[str, ...]]:
  """Rows of the table of accuracies; only what was asked."""
  rows = [
    (
      "which sound (one in the clip)",
      result.labels,
      result.labels_chance,
      result.labels_no_audio,
    ),
    (
      "all sounds in their order",
      result.order,
      result.order_chance,
      result.order_no_audio,
    ),
    (
      "order, where the sounds are right",
      result.order_given_labels,
      result.order_given_labels_chance,
      None,
    ),
  ]
  return [
    (
      name,
      _number(score.accuracy),
      str(score.count),
      _interval(score),
      _number(chance),
      f"{_number(unheard.accuracy)} ({_interval(unheard)})" if unheard else "",
    )
    for name, score, chance, unheard in rows
    if score.count
  ]


def _notes(result: Result) -> str:
  """Says what the numbers of the table are."""
  return (
    "Chance: of the sound, 1 / number of classes (always naming the most"
    f" frequent class gives {_number(result.labels_majority)}); of all sounds"
    " in order, the right answer to another of these clips, drawn at random; of"
    " the order alone, any order of the right sounds. Without audio: the same"
    " model and questions, the clip hidden. Intervals are Wilson's and take"
    " the clips as independent, though the"
    f" {result.labels.count} clips with one sound are made of"
    f" {result.recordings} recordings."
  )


def _sample(sample: Sample) -> str:
  """Shows one clip."""
  return (
    f"{sample.clip} ({sample.task})\n"
    f"- question: {sample.question}\n"
    f"- answer:   {sample.answer}\n"
    f"- truth:    {sample.truth}"
  )


def _interval(score: Score) -> str:
  """Renders the 95 % interval."""
  low, high = score.interval
  return f"{low:.2f}-{high:.2f}"


def _number(value: float) -> str:
  """Renders a share or a loss; "-" for what is not defined."""
  return f"{value:.3f}" if math.isfinite(value) else "-"


def _plain(value: Any) -> Any:
  """A config as plain dicts and lists."""
  # A ConfigDict has items and is no Mapping.
  if hasattr(value, "items"):
    return {k: _plain(v) for k, v in value.items()}
  return (
    [_plain(v) for v in value] if isinstance(value, list | tuple) else value
  )
