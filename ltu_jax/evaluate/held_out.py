"""What a model can tell of sounds that no training clip has.

Two kinds of questions have answers that are right or wrong: which sound is
heard (in clips with one sound), and in which order several begin. Both are
asked with the sound and without it: what is guessed from the words of the
question alone is no hearing. One question a clip and kind, as paraphrases about
one clip are not independent.
"""

import collections
import dataclasses
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ltu_jax.data.question_source import Question, QuestionSource
from ltu_jax.data.tokenizer import Tokenizer
from ltu_jax.evaluate import parsing
from ltu_jax.evaluate.answering import Answer, answerer
from ltu_jax.evaluate.items import (
  Item,
  choose_several_events,
  choose_single_events,
)
from ltu_jax.evaluate.score import Score
from ltu_jax.models.ltu import LTU

_PROGRESS_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Settings:
  """How much is asked.

  Attributes:
    items: Questions of a kind at most.
    batch_size: Questions that are answered at once, at most.
    max_new_tokens: Tokens of an answer at most.
  """

  items: int
  batch_size: int
  max_new_tokens: int


@dataclasses.dataclass(frozen=True)
class Result:
  """What came out; every chance is computed on the very items asked.

  Attributes:
    labels: Clips with one sound: the answer names its class and no other.
    labels_no_audio: The same questions, without the sound.
    labels_chance: One by the number of classes.
    labels_majority: Share of the most frequent class: what a constant answer
      can reach.
    per_class: `labels` by class.
    recordings: Different recordings in those clips.
    order: The answer names all sounds of the clip, in the right order.
    order_no_audio: The same questions, without the sound.
    order_chance: Probability that the truth of another item, drawn at random,
      is right: a guesser who knows what is usual.
    order_given_labels: `order` among the answers that name the right sounds.
    order_given_labels_chance: Mean over those of 1 / k! for k sounds: a guesser
      who knows the sounds and not their order.
  """

  labels: Score
  labels_no_audio: Score
  labels_chance: float
  labels_majority: float
  per_class: Mapping[str, Score]
  recordings: int
  order: Score
  order_no_audio: Score
  order_chance: float
  order_given_labels: Score
  order_given_labels_chance: float

  def line(self) -> str:
    """Returns the gist in one line; parts without questions are left out."""
    parts = []
    if self.labels.count:
      parts.append(
        f"labels {self.labels.accuracy:.2f} of {self.labels.count}"
        f" (chance {self.labels_chance:.2f},"
        f" no audio {self.labels_no_audio.accuracy:.2f})"
      )
    if self.order.count:
      parts.append(
        f"order {self.order.accuracy:.2f} of {self.order.count}"
        f" (chance {self.order_chance:.2f},"
        f" no audio {self.order_no_audio.accuracy:.2f})"
      )
    return "  ".join(parts) or "no questions about labels or order"

  def as_json(self) -> dict[str, Any]:
    """All of it as plain values; what is not defined is None."""

    def plain(value):
      if isinstance(value, Score):
        return value.as_json()
      if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
      return None if math.isnan(value) else value

    return {
      field.name: plain(getattr(self, field.name))
      for field in dataclasses.fields(self)
    }


def settings(config: Mapping[str, Any], items: int) -> Settings:
  """Takes the settings from `config.eval`.

  Args:
    config: The run's config.
    items: Questions of a kind at most.
  """
  chosen = config["eval"]
  return Settings(items, chosen["batch_size"], chosen["max_new_tokens"])


def evaluate(
  model: LTU,
  tokenizer: Tokenizer,
  test_set: QuestionSource,
  settings: Settings,
) -> Result:
  """Asks a model; see `evaluate_answers`."""
  answer = answerer(model, tokenizer, settings.max_new_tokens)
  return evaluate_answers(answer, test_set, settings)


def evaluate_answers(
  answer: Answer,
  test_set: QuestionSource,
  settings: Settings,
  report: Callable[[str], None] | None = None,
) -> Result:
  """Asks about held-out clips, with and without their sound, and counts.

  Args:
    answer: Answers at most `settings.batch_size` questions.
    test_set: The held-out questions.
    settings: How many.
    report: Takes a line on the progress every few seconds; None prints.

  Returns:
    The scores.
  """
  ask = _Asker(answer, settings.batch_size, report or _print)
  single = choose_single_events(test_set, settings.items)
  heard = [
    parsing.labels(text) == frozenset(item.truth)
    for item, text in zip(single, ask("labels", single), strict=True)
  ]
  unheard = [
    parsing.labels(text) == frozenset(item.truth)
    for item, text in zip(single, ask.without_audio(single), strict=True)
  ]
  several = choose_several_events(test_set, settings.items)
  said = [parsing.order(text) for text in ask("order", several)]
  guessed = [parsing.order(text) for text in ask.without_audio(several)]
  truths = [item.truth for item in several]
  right = [a == b for a, b in zip(said, truths, strict=True)]
  same_sounds = [
    (hit, math.factorial(len(truth)))
    for hit, answered, truth in zip(right, said, truths, strict=True)
    if sorted(answered) == sorted(truth)
  ]
  classes = collections.defaultdict(list)
  for item, hit in zip(single, heard, strict=True):
    classes[item.truth[0]].append(hit)
  return Result(
    labels=Score.of(heard),
    labels_no_audio=Score.of(unheard),
    labels_chance=1 / len(classes) if classes else math.nan,
    labels_majority=max(map(len, classes.values()), default=0) / len(single)
    if single
    else math.nan,
    per_class={name: Score.of(classes[name]) for name in sorted(classes)},
    recordings=len({(item.truth, item.recordings) for item in single}),
    order=Score.of(right),
    order_no_audio=Score.of(
      a == b for a, b in zip(guessed, truths, strict=True)
    ),
    order_chance=swapped_chance(truths),
    order_given_labels=Score.of(hit for hit, _ in same_sounds),
    order_given_labels_chance=float(np.mean([1 / n for _, n in same_sounds]))
    if same_sounds
    else math.nan,
  )


def swapped_chance(truths: Sequence[Hashable]) -> float:
  """Returns how often the truth of another item, drawn at random, is right.

  Exactly what shuffling the truths gives on average. NaN for less than two.
  """
  n = len(truths)
  if n < 2:
    return math.nan
  same = sum(c * (c - 1) for c in collections.Counter(truths).values())
  return same / (n * (n - 1))


class _Asker:
  """Asks in batches of nearly equal size, and tells how far it is."""

  def __init__(
    self, answer: Answer, batch_size: int, report: Callable[[str], None]
  ):
    self._answer = answer
    self._batch_size = batch_size
    self._report = report
    self._told = time.monotonic()

  def __call__(self, kind: str, items: Sequence[Item]) -> list[str]:
    """Returns the answers to items with their sound."""
    return self._ask(kind, [item.question for item in items], True)

  def without_audio(self, items: Sequence[Item]) -> list[str]:
    """Returns the answers to items without their sound.

    Without sound and draws, the same words have the same answer: each wording
    is asked once.
    """
    words = [(i.question.instruction, i.question.input) for i in items]
    wordings = {w: i.question for w, i in zip(words, items, strict=True)}
    texts = self._ask("without audio", list(wordings.values()), False)
    answers = dict(zip(wordings, texts, strict=True))
    return [answers[w] for w in words]

  def _ask(
    self, kind: str, questions: Sequence[Question], with_audio: bool
  ) -> list[str]:
    """Returns the answers to questions of a kind."""
    answers = []
    # Batches of nearly one size: the last compiles no program of its own.
    batches = -(-len(questions) // self._batch_size)
    for batch in range(batches):
      start = batch * len(questions) // batches
      end = (batch + 1) * len(questions) // batches
      answers += self._answer(questions[start:end], with_audio)
      if time.monotonic() - self._told > _PROGRESS_SECONDS:
        self._report(f"evaluating {kind} {end}/{len(questions)}")
        self._told = time.monotonic()
    return answers


def _print(line: str) -> None:
  """Prints at once."""
  print(line, flush=True)
