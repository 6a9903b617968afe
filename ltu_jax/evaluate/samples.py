"""A few held-out clips with question, answer and truth, to read."""

import dataclasses

from ltu_jax.data.question_source import QuestionSource
from ltu_jax.evaluate.answering import Answer
from ltu_jax.evaluate.items import tasks_in

_TASKS = (
  "cla_label",
  "caption",
  "temporal_order",
  "temporal_all",
  "open-ended question",
)


@dataclasses.dataclass(frozen=True)
class Sample:
  """One question about one clip.

  Attributes:
    clip: Name of the clip.
    task: Kind of question.
    question: What was asked.
    answer: What the model said.
    truth: What is right; of open-ended questions one right answer of many.
  """

  clip: str
  task: str
  question: str
  answer: str
  truth: str


def ask(
  answer: Answer, test_set: QuestionSource, count: int = 5
) -> list[Sample]:
  """Asks one question of each of different tasks about different clips.

  They are chosen by their place in the data set, not by what is answered.

  Args:
    answer: Answers `count` questions.
    test_set: The held-out questions.
    count: How many; fewer if the data set has fewer clips.

  Returns:
    The questions with answer and truth.
  """
  there = tasks_in(test_set)
  tasks = [task for task in _TASKS if task in there] or there
  chosen, used = [], set()
  for number in range(count):
    part = test_set.select(tasks=[tasks[number % len(tasks)]])
    first = (2 * number + 1) * part.num_rows // (2 * count)
    rows = (*range(first, part.num_rows), *range(first))
    free = (row for row in rows if int(part.index.clip[row]) not in used)
    row = next(free, None)
    if row is not None:
      used.add(int(part.index.clip[row]))
      chosen.append(part[row])
  answers = answer(chosen, True)
  return [
    Sample(q.clip_id, q.task, q.instruction, text, q.output)
    for q, text in zip(chosen, answers, strict=True)
  ]
