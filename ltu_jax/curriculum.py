"""Perception to understanding: the stages of training, and their order.

A stage says which questions, which parameters, which rate, for how long, and
at which step its weights go to the next stage. Constants: LTU paper table 3
and the published training scripts.
"""

import dataclasses
import math

from ltu_jax.data.question_index import CLASSIFICATION, CLOSED_ENDED
from ltu_jax.models import sizes
from ltu_jax.optim import Schedule

PROJECTION = ("^projector/",)
"""What stage 1 trains."""

AUDIO_AND_ADAPTERS = ("^encoder/", "^projector/", "/lora_[ab]$")
"""What stages 2 to 4 train."""


class CurriculumError(ValueError):
  """A stage that cannot run; the message names its field."""


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage of the curriculum.

  Attributes:
    number: 1..4 of the paper; 0 for a stage that makes the base weights.
    name: for tables and plots.
    tasks: task names of the questions; empty for all.
    datasets: names of the data sets that the questions' clips are of; empty for
      all.
    trainable: regexes on parameter paths; each must match something.
    peak_lr: learning rate at the end of the warm-up.
    epochs: passes over the stage's questions; ignored where `steps` is set.
    steps: optimiser steps of the schedule; 0 to derive them from `epochs`.
    warmup_steps: steps of linear warm-up.
    handoff_step: step at which training stops and the weights go on to the
      next stage; 0 for the schedule's end.
    audio: False trains the decoder on the text alone.
    max_tokens: text tokens of a question; 0 for `config.data.max_tokens`.
  """

  number: int
  name: str
  tasks: tuple[str, ...] = ()
  datasets: tuple[str, ...] = ()
  trainable: tuple[str, ...] = AUDIO_AND_ADAPTERS
  peak_lr: float = 1e-4
  epochs: float = 1.0
  steps: int = 0
  warmup_steps: int = 100
  handoff_step: int = 0
  audio: bool = True
  max_tokens: int = 0

  def __post_init__(self):
    """Checks the fields; raises ValueError for those of another type."""
    sizes.check(self)

  def problems(self, num_rows: int, batch_size: int) -> list[tuple[str, str]]:
    """What is wrong with the stage's length: fields, and what to say of them.

    Too few rows for one batch, a warm-up or a hand-off that is longer than the
    stage. Where `steps` is set, it takes no rows to tell.
    """
    steps = self._steps(num_rows, batch_size)
    if steps < 1:
      words = (
        f": {num_rows} rows and {self.epochs} epochs give no step of "
        f"{batch_size} rows; set it, or a smaller config.data.batch_size"
      )
      return [("steps", words)]
    return [
      (name, f" is {getattr(self, name)}, but the stage has {steps} steps")
      for name in ("warmup_steps", "handoff_step")
      if getattr(self, name) > steps
    ]

  def num_steps(self, num_rows: int, batch_size: int) -> int:
    """Steps of the schedule: ceil(epochs * (rows // batch)).

    A row is a question, unless several are packed into one.

    Raises:
      CurriculumError: see `problems`.
    """
    if problems := self.problems(num_rows, batch_size):
      where = f"config.stages.stage{self.number}"
      lines = [f"{where}.{field}{words}" for field, words in problems]
      raise CurriculumError("\n".join(lines))
    return self._steps(num_rows, batch_size)

  def _steps(self, num_rows: int, batch_size: int) -> int:
    return self.steps or math.ceil(self.epochs * (num_rows // batch_size))

  def last_step(self, num_rows: int, batch_size: int) -> int:
    """The step at which the stage ends and hands its weights on."""
    steps = self.num_steps(num_rows, batch_size)
    return self.handoff_step or steps

  def schedule(self, num_rows: int, batch_size: int) -> Schedule:
    """The learning rate of the stage."""
    return Schedule(
      self.peak_lr,
      self.warmup_steps,
      self.num_steps(num_rows, batch_size),
    )


PUBLISHED = (
  Stage(
    1,
    "classification, projection only",
    tasks=CLASSIFICATION,
    trainable=PROJECTION,
    peak_lr=1e-3,
    steps=9300,
    handoff_step=9000,
  ),
  Stage(
    2,
    "classification",
    tasks=CLASSIFICATION,
    steps=9300,
    handoff_step=9200,
  ),
  Stage(
    3, "all closed-ended", tasks=CLOSED_ENDED, steps=7492, handoff_step=6000
  ),
  Stage(4, "closed and open-ended", steps=22194, handoff_step=20000),
)
"""The published four stages at batch 256 on OpenAQA."""
