"""Makes the report of one or several checkpoints out of their results."""

import datetime
import pathlib
from collections.abc import Collection, Sequence

from ltu_jax.evaluate.page import (
  comparing,
  media,
  sections,
  table,
  to_csv,
  to_html,
  to_markdown,
)
from ltu_jax.evaluate.page import (
  folders as folders_lib,
)
from ltu_jax.evaluate.page.folders import Checkpoint
from ltu_jax.evaluate.page.media import LoadAudio, Media
from ltu_jax.page import html

PAGE_BYTES = 20_000_000
"""The page's size; sounds are left out to keep it."""


def report(
  folders: Sequence[pathlib.Path],
  out: pathlib.Path,
  allow: Collection[str] = (),
  load_audio: LoadAudio | None = None,
) -> list[pathlib.Path]:
  """Writes index.html, report.md and table.csv.

  Args:
    folders: A folder of results (SET.json beside SET.items.jsonl) for each
      checkpoint, in the order to show.
    out: Where to write; made if it is not there.
    allow: "settings" and "data": results that differ in them are shown side by
      side with a warning, not refused.
    load_audio: Returns the sound of an item whose file is not there, as the
      bytes of a sound file; None if it has none.

  Returns:
    The three files.

  Raises:
    EvaluateError: A folder has no results, or they cannot be compared; nothing
      is written.
  """
  checkpoints = folders_lib.read(folders)
  differences = comparing.check(checkpoints, allow)
  choices = sections.choose(checkpoints)
  now = datetime.datetime.now(datetime.UTC)
  values = {
    "title": _title(checkpoints),
    "made": now.strftime("%Y-%m-%d %H:%M UTC"),
    "checkpoints": checkpoints,
    "differences": differences,
    "table": table.make(checkpoints, differences),
    "megabytes": PAGE_BYTES // 1_000_000,
  }

  def page(sounds: Media) -> bytes:
    shown = sections.make(checkpoints, differences, choices, sounds)
    return to_html.render(**values, sections=shown, left_out=sounds.left_out)

  # What is left by a page without sounds is room for them.
  room = PAGE_BYTES - len(page(media.NONE))
  sounds = media.collect(sections.wanted(choices), room, load_audio)
  text = to_markdown.render(
    values["title"],
    values["made"],
    values["table"],
    sections.make(checkpoints, differences, choices, media.NONE),
    differences,
  )
  return [
    html.write(out / "index.html", page(sounds)),
    html.write(out / "report.md", text.encode()),
    html.write(
      out / "table.csv", to_csv.render(checkpoints).encode("utf-8", "replace")
    ),
  ]


def _title(checkpoints: Sequence[Checkpoint]) -> str:
  """The page's title."""
  if len(checkpoints) == 1:
    return f"Evaluation of {checkpoints[0].name}"
  return f"Evaluation of {len(checkpoints)} checkpoints"
