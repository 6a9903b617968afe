"""Held-out scenes made by hand: records with events, and their questions."""

import numpy as np

from ltu_jax.data.question_index import QuestionIndex
from ltu_jax.data.question_source import QuestionSource

TASKS = ("caption", "cla_label", "open-ended question", "temporal_order")
_WORDINGS = ("What can be heard?", "Name the sounds.", "Classify.")


def record(number, labels, recordings=None):
  """A clip with these sounds, with questions as the builder makes them."""
  recordings = recordings or [f"{label} 1" for label in labels]
  asked = [
    ("cla_label", _WORDINGS[number % 3], "Labels: " + "; ".join(labels)),
    ("cla_label", _WORDINGS[(number + 1) % 3], "Labels: " + "; ".join(labels)),
    ("caption", "Describe it.", f"{' and '.join(labels)}."),
    ("open-ended question", "Why?", f"Perhaps {labels[0]}."),
  ]
  if len(labels) > 1:
    ordered = "First " + ", then ".join(labels)
    asked.append(("temporal_order", "In what order?", ordered))
  tasks, questions, answers = zip(*asked, strict=True)
  encode = lambda texts: [text.encode() for text in texts]
  return {
    "id": f"scene-{number}".encode(),
    "audio": f"sound of {number}".encode(),
    "questions": {
      "instruction": encode(questions),
      "output": encode(answers),
      "task": encode(tasks),
    },
    "events": {"label": encode(labels), "recording": encode(recordings)},
  }


def source(records):
  """The questions of records."""
  places = [
    (c, q, TASKS.index(task.decode()))
    for c, r in enumerate(records)
    for q, task in enumerate(r["questions"]["task"])
  ]
  clip, question, task = np.array(places).T
  index = QuestionIndex(
    clip=clip.astype(np.int32),
    question=question.astype(np.int16),
    task=task.astype(np.uint8),
    dataset=np.zeros(len(clip), np.uint8),
    tasks=TASKS,
    datasets=("mini",),
  )
  return QuestionSource(records, index)


def scenes():
  """20 clips: 12 with one sound (6 fire, 4 bell, 2 dog), 8 with several.

  Fire has two recordings, the others one. Of the eight, four have the sounds
  (fire, bell), two (bell, fire), two (fire, bell, dog).
  """
  records = []
  for i in range(6):
    records.append(record(len(records), ["Fire"], [f"fire {i % 2}"]))
  for label, count in (("Bell", 4), ("Dog, barking", 2)):
    records += [record(len(records) + i, [label]) for i in range(count)]
  for labels, count in (
    (["Fire", "Bell"], 4),
    (["Bell", "Fire"], 2),
    (["Fire", "Bell", "Dog, barking"], 2),
  ):
    records += [record(len(records) + i, labels) for i in range(count)]
  return records
