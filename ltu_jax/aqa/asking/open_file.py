"""The file of open-ended questions: what is in the replies, clip after clip."""

import collections
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from ltu_jax.aqa import open_ended
from ltu_jax.aqa.asking import parsing
from ltu_jax.aqa.asking.clips import Manner
from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.records import ClipRecord, Question, published_entry
from ltu_jax.endpoint.kept import KeptFile

_CUT = "length"
"""Why a reply ended that had as many tokens as it might."""


@dataclasses.dataclass
class Report:
  """What is in the file.

  Attributes:
    records: Clips.
    replies: Clips with a reply.
    cut: Replies that had as many tokens as they might.
    without: Replies without a single pair.
    pairs: Questions, with their answers.
    dropped: What looked like a pair and was none, by reason; see parsing.py.
  """

  records: int = 0
  replies: int = 0
  cut: int = 0
  without: int = 0
  pairs: int = 0
  dropped: collections.Counter = dataclasses.field(
    default_factory=collections.Counter
  )

  @property
  def share(self) -> float | None:
    """Pairs among all that looks like one; None of nothing."""
    together = self.pairs + self.dropped.total()
    return self.pairs / together if together else None

  def as_json(self) -> dict[str, Any]:
    """All of it, with the share."""
    fields = dataclasses.asdict(self) | {"share": self.share}
    return fields | {"dropped": dict(sorted(self.dropped.items()))}

  def line(self) -> str:
    """For people."""
    text = f"{self.pairs} questions from {self.replies} replies"
    if self.share is not None:
      text += f"; {self.share:.1%} of what looks like one could be read"
    if self.dropped:
      each = (f"{count} {why}" for why, count in sorted(self.dropped.items()))
      text += f" (else {', '.join(each)})"
    if self.without:
      text += f"; {self.without} replies have none"
    if self.cut:
      text += f"; {self.cut} replies were cut, --max_tokens lets them be longer"
    return text + "."


def write(
  clips: Iterable[ClipRecord], manner: Manner, file: KeptFile, folder: str
) -> Report:
  """Writes FOLDER/open.json, and the report as FOLDER/open_report.json.

  The files depend on the records and the replies to them alone, not on the
  order in which these came.

  Args:
    clips: The records.
    manner: How they were asked about.
    file: The replies.
    folder: An existing folder.

  Raises:
    AqaError: The files cannot be written.
  """
  report = Report()
  path = pathlib.Path(folder, "open.json")
  part = path.with_name("open.json.part")
  try:
    with part.open("w", encoding="ascii") as out:
      out.write("[")
      for clip in clips:
        for entry in _entries(clip, file.line(manner.key(clip)), report):
          out.write(",\n" if report.pairs else "\n")
          out.write(json.dumps(entry))
          report.pairs += 1
      out.write("\n]\n")
    os.replace(part, path)
    text = json.dumps(report.as_json(), indent=1)
    path.with_name("open_report.json").write_text(text + "\n")
  except OSError as error:
    part.unlink(missing_ok=True)
    raise AqaError(f"{path}: cannot be written: {error.strerror}.") from error
  return report


def _entries(
  clip: ClipRecord, reply: dict[str, Any] | None, report: Report
) -> list[dict[str, str]]:
  """A clip's questions in the published form."""
  report.records += 1
  if reply is None:
    return []
  found = parsing.parse(reply["said"])
  report.replies += 1
  report.cut += reply.get("finish") == _CUT
  report.without += not found.pairs
  report.dropped += found.dropped
  asked = (
    Question(question, answer, open_ended.TASK, clip.dataset)
    for question, answer in found.pairs
  )
  return [published_entry(clip, question) for question in asked]
