"""Counts what the gates flag, and writes the questions that are kept."""

import contextlib
import json
import os
import pathlib
from collections.abc import Collection, Iterator
from typing import Any, TextIO

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.quality.gates import DEFAULTS, Counts, Gates, GateSettings
from ltu_jax.aqa.quality.reading import Files
from tfds_builders.openaqa.full.entries import Entry

_KEYS = ("instruction", "input", "audio_id", "dataset", "task", "output")
"""Of an entry, in the order of the published files."""


def check(
  path: str | os.PathLike,
  out: str | os.PathLike | None = None,
  drop: Collection[str] = (),
  settings: GateSettings = DEFAULTS,
) -> dict[str, Any]:
  """Looks at all questions of a file.

  Args:
    path: A JSON file of the published form.
    out: Where to write the questions that are kept, in the same form and order,
      one a line; None writes nothing. The report goes beside it, as
      NAME.report.json.
    drop: Gates whose questions are not kept.
    settings: How the gates are set.

  Returns:
    The report: what was read, kept, and flagged by each gate.

  Raises:
    AqaError: The file cannot be read, or the other not be written; then
      neither it nor the report is there.
  """
  files = Files([path])
  gates = Gates(settings, drop, files.num_bytes)
  counts, kept = Counts(), 0
  if out is not None and os.path.abspath(out) == os.path.abspath(path):
    raise AqaError(f"{out}: is the file to read; give --out another name.")
  with _writing(out) as write:
    for entry in files:
      flags = gates.flags(entry)
      counts.add(entry.task, flags)
      if gates.keeps(flags):
        kept += 1
        write(entry)
  counted = counts.as_json()
  report = {
    **files.as_json(),
    "dropped_gates": sorted(drop),
    "kept": kept,
    "dropped": counted["questions"] - kept,
    **counted,
    "not_remembered": gates.forgotten,
  }
  if out is not None:
    with _whole(pathlib.Path(out).with_suffix(".report.json")) as file:
      json.dump(report, file, indent=2, ensure_ascii=False)
      file.write("\n")
  return report


def as_text(report: dict[str, Any]) -> str:
  """Returns a report as a Markdown table with the most frequent reasons."""
  lines = [
    f"{report['questions']:,} questions, {report['flagged']:,} flagged by some"
    f" gate; {report['kept']:,} kept, {report['dropped']:,} dropped.",
    "",
    "| gate | looked at | flagged | share | most frequent reasons |",
    "|---|---:|---:|---:|---|",
  ]
  for name, gate in report["gates"].items():
    reasons = "; ".join(
      f"{reason} ({count:,})"
      for reason, count in list(gate["reasons"].items())[:5]
    )
    share = "" if gate["share"] is None else f"{100 * gate['share']:.1f} %"
    dropped = " (dropped)" if name in report["dropped_gates"] else ""
    lines.append(
      f"| {name}{dropped} | {gate['looked_at']:,} | {gate['flagged']:,} |"
      f" {share} | {reasons} |"
    )
  lines += ["", *_notes(report)]
  return "\n".join(lines)


def _notes(report: dict[str, Any]) -> Iterator[str]:
  """What else to know."""
  yield (
    "Labels and times (`cla_...`, `temporal_...`) pass all gates; captions are"
    " looked at for language and length alone."
  )
  for kind in ("left_out", "mended"):
    for one in report[kind].values():
      yield f"{one['count']:,} entries {one['rule']}."
  if report["not_remembered"]:
    yield (
      f"Memory was full: later questions were not compared with"
      f" {report['not_remembered']:,} of the last ones."
    )


@contextlib.contextmanager
def _writing(out: str | os.PathLike | None):
  """Yields what writes an entry into a JSON list."""
  if out is None:
    yield lambda entry: None
    return
  with _whole(pathlib.Path(out)) as file:
    before = "[\n"

    def write(entry: Entry) -> None:
      nonlocal before
      values = {key: getattr(entry, key) for key in _KEYS}
      file.write(before + json.dumps(values, ensure_ascii=False))
      before = ",\n"

    yield write
    file.write("[]\n" if before == "[\n" else "\n]\n")


@contextlib.contextmanager
def _whole(path: pathlib.Path) -> Iterator[TextIO]:
  """Opens a file that is there when all of it is written, and not before.

  Raises:
    AqaError: It cannot be written.
  """
  part = path.with_name(path.name + ".part")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with part.open("w", encoding="utf-8", errors="replace") as file:
      yield file
    os.replace(part, path)
  except OSError as error:
    raise AqaError(f"{path}: cannot be written: {error}.") from error
  finally:
    with contextlib.suppress(OSError):
      part.unlink()
