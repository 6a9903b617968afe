"""The held-out clips of openaqa/mini as sets: which sound, and which order.

Unlike the other sets they are read from TFDS (ltu_jax/data), and ask in the
words of the data set.
"""

import dataclasses
from collections.abc import Callable, Sequence

from ltu_jax.data.question_source import QuestionSource
from ltu_jax.evaluate.items import Item as Chosen
from ltu_jax.evaluate.items import choose_several_events, choose_single_events
from ltu_jax.evaluate.sets.spec import (
  CLASSIFICATION,
  ORDER,
  Found,
  Item,
  Spec,
)

NAMES = _LABELS, _ORDER = "mini", "mini_order"
"""The two sets."""


def specs(open_source: Callable[[], QuestionSource]) -> tuple[Spec, Spec]:
  """Returns the two sets.

  Args:
    open_source: Opens the held-out questions; called when they are needed.
  """
  return (
    Spec(
      name=_LABELS,
      title="openaqa/mini: which sound",
      kind=CLASSIFICATION,
      metric="accuracy",
      folders=(),
      find=lambda _: find_labels(open_source()),
      decode="greedy",
      label_answer="Labels: {}",
    ),
    Spec(
      name=_ORDER,
      title="openaqa/mini: sounds in their order",
      kind=ORDER,
      metric="accuracy",
      folders=(),
      find=lambda _: find_order(open_source()),
      decode="greedy",
    ),
  )


def find_labels(source: QuestionSource) -> Found:
  """Clips with one sound, which is asked for.

  Args:
    source: The held-out questions.

  Returns:
    One item a clip, evenly spread over classes and recordings.
  """
  chosen = choose_single_events(source, source.num_rows)
  # As written in the data set, in capital and small letters: such is the
  # answer that was learnt.
  items = [
    dataclasses.replace(
      item, truth=(c.question.output.partition(":")[2].strip(),)
    )
    for item, c in zip(_items(source, chosen), chosen, strict=True)
  ]
  labels = sorted({item.truth[0] for item in items})
  return Found(items, len(items), (), (), tuple(labels))


def find_order(source: QuestionSource) -> Found:
  """Clips with several sounds, whose order is asked for; one item a clip."""
  items = _items(source, choose_several_events(source, source.num_rows))
  return Found(items, len(items), (), ())


def _items(source: QuestionSource, chosen: Sequence[Chosen]) -> list[Item]:
  """The chosen questions as items of a set."""

  def reader(clip: int) -> Callable[[], bytes]:
    # Read again when it is asked: the sounds of all clips are not held.
    return lambda: source.record(clip)["audio"]

  return [
    Item(
      id=c.question.clip_id,
      audio=c.question.clip_id,
      path=None,
      question=c.question.instruction,
      truth=c.truth,
      input=c.question.input,
      group=" + ".join(c.recordings),
      read=reader(c.question.clip),
    )
    for c in chosen
  ]
