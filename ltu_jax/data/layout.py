"""How the questions of a stage become rows, and the rows steps.

As the config says: one question a row, or several about a clip (packing.py);
batches of one width, or of several (buckets.py).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ltu_jax.data import buckets as buckets_lib
from ltu_jax.data import packing, text_lengths
from ltu_jax.data.question_index import QuestionIndex


@dataclasses.dataclass(frozen=True)
class Layout:
  """Rows and steps of a stage.

  Attributes:
    num_questions: Questions of an epoch.
    num_rows: Rows of an epoch.
    row_tokens: Tokens of the widest row.
    batch_size: Rows of a batch of the widest.
    plan: Which questions are in which row; None for one a row.
    buckets: Which rows are in which batch; None for batches of one width.
  """

  num_questions: int
  num_rows: int
  row_tokens: int
  batch_size: int
  plan: packing.Plan | None = None
  buckets: buckets_lib.Buckets | None = None

  @property
  def size(self) -> tuple[int, int]:
    """What `Stage.num_steps` takes: rows of an epoch, and of a step.

    With buckets they are steps, and 1.
    """
    if self.buckets is not None:
      return self.buckets.num_steps, 1
    return self.num_rows, self.batch_size

  @property
  def questions_per_step(self) -> float:
    """Mean number of questions of a step."""
    rows, of_step = self.size
    return self.num_questions / rows * of_step

  def line(self, steps: int) -> str:
    """Says in words what came out; "" for one question a row, of one width.

    Args:
      steps: Steps of the stage.
    """
    if self.plan is None and self.buckets is None:
      return ""
    rows, of_step = self.size
    mean = self.num_questions / self.num_rows
    return (
      f"{self.num_questions} questions in {self.num_rows} rows, {mean:.2f} a"
      f" row; a step has {self.questions_per_step:.1f} on the average; {steps}"
      f" steps are {steps * of_step / rows:.2f} epochs"
    )


def make(
  index: QuestionIndex,
  lengths: text_lengths.TextLengths | None,
  data: Mapping[str, Any],
  max_tokens: int,
  seed: int,
) -> Layout:
  """Makes the layout of a stage.

  Args:
    index: Its questions.
    lengths: Of all questions; None where `buckets.needs_lengths` says no.
    data: `config.data`.
    max_tokens: Tokens of a question at most.
    seed: Decides the order, and which questions of one length are together.
  """
  every = buckets_lib.shapes_of(data, max_tokens)
  count = len(index.clip)
  made = Layout(count, count, every[-1].tokens, every[-1].rows)
  if not buckets_lib.needs_lengths(data):
    return made
  tokens = text_lengths.tokens(lengths.of(index), max_tokens)
  clips = index.clip
  if data["questions_per_row"] > 1:
    plan = packing.pack(
      clips,
      tokens,
      questions_per_row=data["questions_per_row"],
      row_tokens=every[-1].tokens,
      seed=seed,
    )
    made = dataclasses.replace(made, plan=plan, num_rows=plan.num_rows)
    clips, tokens = plan.clips, plan.tokens
  if len(every) > 1:
    found = buckets_lib.Buckets(clips, tokens, every, seed)
    made = dataclasses.replace(made, buckets=found)
  return made
