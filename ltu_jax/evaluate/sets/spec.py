"""What an evaluation set is: its question, its measure, its items.

Nothing here or in the readers beside it imports JAX: sets are read, counted
and looked at without a model.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

CLASSIFICATION, CAPTIONS, OPEN, CHOICE, ORDER = (
  "classification",
  "captions",
  "open-ended",
  "multiple choice",
  "order",
)
"""Kinds of sets: how answers are scored."""


@dataclasses.dataclass(frozen=True)
class Item:
  """One clip of a set, what is asked about it, and what is true.

  Attributes:
    id: Names the item within its set; no two items have the same.
    audio: The sound file's name, for people and reports.
    path: Where that file is; None if `read` gives the sound, or for a question
      without sound.
    question: What is asked.
    truth: Labels as in the set's list of them; or captions; or a reference
      answer; or the right choice.
    input: More text that belongs to the question (OpenAQA's field).
    choices: Of a multiple-choice question, the right one among them.
    group: What items can be told apart by in a table (a task, a difficulty);
      "" where there is nothing.
    read: Returns the sound as the bytes of a sound file, where it is in no
      file of its own.
  """

  id: str
  audio: str
  path: pathlib.Path | None
  question: str
  truth: tuple[str, ...]
  input: str = ""
  choices: tuple[str, ...] = ()
  group: str = ""
  read: Callable[[], bytes] | None = None


@dataclasses.dataclass(frozen=True)
class Found:
  """What a folder holds of a set.

  Attributes:
    items: Those whose sound is there, in the set's order.
    total: Items that the metadata lists.
    missing: Ids of those whose sound is not there, in order.
    source: The metadata files that were read, for the result.
    labels: All classes in their order, as asked and scored; () of a set that
      has none.
  """

  items: Sequence[Item]
  total: int
  missing: tuple[str, ...]
  source: tuple[pathlib.Path, ...]
  labels: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Spec:
  """An evaluation set.

  Attributes:
    name: On the command line and in file names, such as "esc50".
    title: For people, such as "ESC-50".
    kind: One of the kinds above.
    metric: What the paper's table has of it: "accuracy", "mAP", "micro F1",
      "SPICE", "instruction following".
    folders: Names of the folder in DIR (of --data=DIR) that may hold it.
    find: Reads such a folder; raises EvaluateError for one that is not the
      set's or is damaged, and names the file and line.
    question: What the published scripts ask about every clip; "" where each
      item has its own.
    label_question: What asks for labels rather than for a caption.
    published: Results of the paper in percent by model ("LTU-7B", "LTU-13B").
    layout: For the documentation: what the folder has to hold.
    decode: "published", or "greedy" where nothing published is compared with.
    label_answer: How an answer names one label, for constrained scoring.
  """

  name: str
  title: str
  kind: str
  metric: str
  folders: tuple[str, ...]
  find: Callable[[pathlib.Path], Found]
  question: str = ""
  label_question: str = ""
  published: Mapping[str, float] = dataclasses.field(default_factory=dict)
  layout: str = ""
  decode: str = "published"
  label_answer: str = "Labels: {}"
