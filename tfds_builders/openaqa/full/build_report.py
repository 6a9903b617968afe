"""What became of every entry and every clip, as JSON and as a table."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from tfds_builders.openaqa.full import clip_audio, shards
from tfds_builders.openaqa.full.plan import Plan
from tfds_builders.openaqa.full.tally import Tally

FILE = "build_report.json"
"""Name of the report, beside the record files."""


def make(plan: Plan, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Joins the first pass and the reports of the shards.

  Args:
    plan: The first pass.
    parts: `shards` reports, in order; none before any shard was made.

  Returns:
    JSON values: `files`, `audio`, `entries` (`read`, `left_out`, `mended`,
    `duplicates`), `clips` (`left_out`, `changed`), `sources` (for each data set
    `clips` and `questions`, each `asked`, `found`, `used`), `tasks` (questions
    of each), `shards`.
  """
  left_out, changed = Tally(clip_audio.LEFT_OUT), Tally(clip_audio.CHANGED)
  duplicates = Tally(shards.DUPLICATES)
  left_out.merge(plan.clips_left_out)
  changed.merge(plan.clips_changed)
  used = collections.defaultdict(collections.Counter)
  for part in parts:
    left_out.merge(part["left_out"])
    changed.merge(part["changed"])
    duplicates.merge(part["duplicates"])
    for name, counts in part["used"].items():
      used[name].update(counts)
  sources = {
    dataset: {
      what: counts | {"used": used[what][dataset]}
      for what, counts in source.items()
    }
    for dataset, source in plan.sources.items()
  }
  return {
    "files": plan.files,
    "audio": plan.audio,
    "entries": {
      "read": plan.num_read,
      "left_out": plan.entries_left_out,
      "mended": plan.entries_mended,
      "duplicates": duplicates.as_json(),
    },
    "clips": {"left_out": left_out.as_json(), "changed": changed.as_json()},
    "sources": sources,
    "tasks": dict(sorted(used["tasks"].items())),
    "shards": [
      {key: part[key] for key in ("records", "bytes", "sha256")}
      for part in parts
    ],
  }


def coverage(report: Mapping[str, Any], name: str = "used") -> float:
  """Returns the share of clips asked for that were `found` or `used`."""
  clips = [source["clips"] for source in report["sources"].values()]
  asked = sum(counts["asked"] for counts in clips)
  return sum(counts[name] for counts in clips) / asked if asked else 0.0


def table(report: Mapping[str, Any]) -> str:
  """Returns the report as text: coverage by source, then every rule."""
  # Before any shard was made nothing is used, which is not worth telling.
  names = ["asked", "found"] + (["used"] if report["shards"] else [])
  head = ["source", "clips", *names[1:], "", "questions", names[-1], ""]
  rows = [head]
  total = collections.Counter()
  for dataset, source in report["sources"].items():
    clips, questions = source["clips"], source["questions"]
    rows.append(_row(dataset, clips, questions, names))
    total.update({f"clips {k}": v for k, v in clips.items()})
    total.update({f"questions {k}": v for k, v in questions.items()})
  if len(rows) > 2:
    clips, questions = (
      {k: total[f"{what} {k}"] for k in names}
      for what in ("clips", "questions")
    )
    rows.append(_row("all", clips, questions, names))
  lines = _align(rows)
  entries, clips = report["entries"], report["clips"]
  for title, counted in (
    (f"of {entries['read']:,} entries", entries["left_out"]),
    ("", entries["mended"]),
    ("", entries["duplicates"]),
    ("of the clips", clips["left_out"]),
    ("", clips["changed"]),
  ):
    if counted and title:
      lines += ["", title]
    for kind, one in counted.items():
      lines.append(f"  {one['count']:>9,} {kind}: {one['rule']}")
      lines.append(f"            such as {one['examples'][0]}")
  return "\n".join(lines)


def _row(
  name: str, clips: Mapping, questions: Mapping, names: Sequence[str]
) -> list[str]:
  """One line of the table of sources; shares are of the last name."""

  def share(counts: Mapping) -> str:
    if not counts["asked"]:
      return ""
    return f"{counts[names[-1]] / counts['asked']:.1%}"

  return [
    name,
    *(f"{clips[key]:,}" for key in names),
    share(clips),
    *(f"{questions[key]:,}" for key in (names[0], names[-1])),
    share(questions),
  ]


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
  """Aligns columns: the first to the left, the others to the right."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return [
    "  ".join(
      cell.ljust(width) if i == 0 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    for row in rows
  ]
