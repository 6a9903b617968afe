"""All quality gates of a question: which there are, and what they apply to."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.quality import phrases as phrases_lib
from ltu_jax.aqa.quality import texts
from ltu_jax.aqa.quality.duplicates import MOST, NEAR, Duplicates
from ltu_jax.aqa.quality.flag import Flag, Kind, kind_of
from ltu_jax.aqa.quality.phrases import Phrases
from ltu_jax.aqa.quality.texts import Limits
from tfds_builders.openaqa.full.entries import Entry


@dataclasses.dataclass(frozen=True)
class Gate:
  """One gate.

  Attributes:
    rule: What it flags, in a sentence.
    kinds: The kinds of questions that it looks at; it lets others pass.
  """

  rule: str
  kinds: tuple[Kind, ...] = (Kind.OPEN,)


_SENTENCES = (Kind.OPEN, Kind.CAPTION)

GATES = {
  "language": Gate(
    "does not look English: other letters than Latin ones, or twelve words and"
    " hardly any common English one; shorter texts in Latin letters pass",
    _SENTENCES,
  ),
  "length": Gate("question or answer is too short or too long", _SENTENCES),
  "unanswerable": Gate("the answer says that the audio does not tell"),
  "leak": Gate("speaks of the meta information, or reads time stamps aloud"),
  "same_in_clip": Gate("the clip has the same question before"),
  "near_in_clip": Gate("the clip has nearly the same question before"),
  "same_overall": Gate("any clip has the same question before"),
  "near_overall": Gate("any clip has nearly the same question before"),
}
"""The gates by name.

Labels and times (`cla_...`, `temporal_...`) are exempt from all: they are no
sentences, their answers are time stamps, and their questions are a few
paraphrases. So are captions from all but the first two: the published recipe
repeats some of them.
"""


@dataclasses.dataclass(frozen=True)
class GateSettings:
  """How the gates are set.

  Attributes:
    limits: Words to have.
    phrases: A file of further phrases, "" for none.
    near: Jaccard index from which questions are nearly equal.
    most: Questions to remember.
    seed: Of hash functions.
  """

  limits: Limits = dataclasses.field(default_factory=Limits)
  phrases: str = ""
  near: float = NEAR
  most: int = MOST
  seed: int = 0


DEFAULTS = GateSettings()
"""How the gates are set where nobody says."""


class Gates:
  """Looks at one question after another."""

  def __init__(
    self,
    settings: GateSettings = DEFAULTS,
    drop: Collection[str] = (),
    num_bytes: int | None = None,
  ):
    """Prepares all gates.

    Args:
      settings: How they are set.
      drop: Gates whose questions are not kept.
      num_bytes: Size of the files to read, if it is known.

    Raises:
      AqaError: There is no such gate, or no such file of phrases.
    """
    check_names(drop)
    self._drop = frozenset(drop)
    self._limits = settings.limits
    self._phrases: Phrases = phrases_lib.load(settings.phrases or None)
    self._duplicates = Duplicates(
      settings.near, settings.most, num_bytes, settings.seed
    )

  @property
  def forgotten(self) -> int:
    """Questions that later ones were not compared with, for want of memory."""
    return self._duplicates.forgotten

  def flags(self, entry: Entry) -> list[Flag]:
    """Returns what the gates say of the next question, in order of `GATES`."""
    kind = kind_of(entry.task)
    question = f"{entry.instruction} {entry.input}".strip()
    found = texts.flags(
      kind, question, entry.output, self._limits, self._phrases
    )
    if kind is Kind.OPEN:
      found += self._duplicates.flags(
        entry.audio_id, question, self.keeps(found), self._drop
      )
    return found

  def keeps(self, flags: Iterable[Flag]) -> bool:
    """Whether a question with these flags is kept."""
    return not any(flag.gate in self._drop for flag in flags)


class Counts:
  """How often each gate flagged, and why."""

  def __init__(self):
    """Nothing was counted."""
    self._seen: Counter[Kind] = Counter()
    self._flagged: Counter[str] = Counter()
    self._reasons: Counter[Flag] = Counter()
    self._any = 0

  def add(self, task: str, flags: Sequence[Flag]) -> None:
    """Counts a question with its flags."""
    self._seen[kind_of(task)] += 1
    self._flagged.update(flag.gate for flag in flags)
    self._reasons.update(flags)
    self._any += bool(flags)

  def as_json(self) -> dict[str, Any]:
    """Returns all of it as plain values, most frequent reasons first."""
    gates = {}
    for name, gate in GATES.items():
      looked = sum(self._seen[kind] for kind in gate.kinds)
      reasons = [
        (flag.reason, count)
        for flag, count in self._reasons.most_common()
        if flag.gate == name
      ]
      gates[name] = {
        "rule": gate.rule,
        "applies_to": [kind.value for kind in gate.kinds],
        "looked_at": looked,
        "flagged": self._flagged[name],
        "share": self._flagged[name] / looked if looked else None,
        "reasons": dict(reasons),
      }
    return {
      "questions": self._seen.total(),
      "flagged": self._any,
      "gates": gates,
    }


def check_names(names: Iterable[str]) -> None:
  """Raises AqaError unless all are names of gates."""
  for name in names:
    if name not in GATES:
      raise AqaError(
        f"there is no gate {name!r}; the gates are {', '.join(GATES)}."
      )
