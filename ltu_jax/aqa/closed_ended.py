"""Closed-ended questions: there is one right answer, and it is known.

The forms of the answers are those of OpenAQA: `Labels: A; B`,
`Labels with acoustic features: Feature of A -> A; Feature of B -> B`,
times as `[0.0s-1.2s, 3.4s-5.0s]`.
"""

from ltu_jax.aqa import paraphrases
from ltu_jax.aqa.records import ClipRecord, Question


def make(clip: ClipRecord) -> list[Question]:
  """Makes every closed-ended question that the record can answer.

  Args:
    clip: The record; events in order of onset if they have times.

  Returns:
    Two classifications, one with acoustic features if all are known, the
    caption if there is one, and with times: one event's, all events', their
    order (the last two if there are several).
  """
  questions = _labels(clip)
  if all(event.feature for event in clip.events):
    questions.append(_labels_with_features(clip))
  if clip.caption:
    questions.append(_question(clip, "caption", clip.caption))
  if all(event.spans for event in clip.events):
    questions.append(_times_of_one(clip))
    if len(clip.events) > 1:
      questions += [_order(clip), _times_of_all(clip)]
  return questions


def _question(clip: ClipRecord, task: str, output: str, **names) -> Question:
  """Asks in one of the task's ways, with labels put in for `names`."""
  (instruction,) = paraphrases.choose(clip.id, task)
  return Question(instruction.format(**names), output, task, clip.dataset)


def _labels(clip: ClipRecord) -> list[Question]:
  """Asks for the labels, in two ways."""
  output = "Labels: " + "; ".join(event.label for event in clip.events)
  return [
    Question(instruction, output, "cla_label", clip.dataset)
    for instruction in paraphrases.choose(clip.id, "cla_label", 2)
  ]


def _labels_with_features(clip: ClipRecord) -> Question:
  """Asks for the labels and how they sound."""
  output = "Labels with acoustic features: " + "; ".join(
    f"{event.feature} -> {event.label}" for event in clip.events
  )
  return _question(clip, "cla_label_des", output)


def _times_of_one(clip: ClipRecord) -> Question:
  """Asks when one of the events is heard."""
  event = paraphrases.chooser(clip.id, "which event").choice(clip.events)
  return _question(clip, "temporal_single", event.times, sound=event.label)


def _times_of_all(clip: ClipRecord) -> Question:
  """Asks when each event is heard."""
  output = "; ".join(f"{event.label}: {event.times}" for event in clip.events)
  return _question(clip, "temporal_all", output)


def _order(clip: ClipRecord) -> Question:
  """Asks for the order in which the events begin."""
  events = sorted(clip.events, key=lambda event: event.onset)
  output = "First " + ", then ".join(event.label for event in events)
  return _question(clip, "temporal_order", output)
