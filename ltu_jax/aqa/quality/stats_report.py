"""The files of the statistics: a page, Markdown and JSON."""

import datetime
import json
import os
import pathlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.quality import charts, stats, stats_markdown
from ltu_jax.aqa.quality.charts import Chart
from ltu_jax.aqa.quality.flag import kind_of
from ltu_jax.aqa.quality.gates import DEFAULTS, GateSettings
from ltu_jax.page import html

_TEMPLATES = pathlib.Path(__file__).parent / "templates" / "stats"

_MOST_ROWS = 200
"""Rows of a table of the page; JSON has all."""


def report(
  paths: Sequence[str | os.PathLike],
  out: str | os.PathLike,
  settings: GateSettings = DEFAULTS,
) -> list[pathlib.Path]:
  """Counts, and writes index.html, stats.md and stats.json.

  Args:
    paths: JSON files of the published form; all are counted together.
    out: Folder to write to; made if it is not there.
    settings: How the gates are set.

  Returns:
    The three files.

  Raises:
    AqaError: A file cannot be read, or nothing be written.
  """
  found = stats.collect(paths, settings)
  if not found["questions"]:
    raise AqaError(f"{', '.join(found['files'])}: there is no question in it.")
  now = datetime.datetime.now(datetime.UTC)
  values = {
    "title": "Statistics of questions",
    "made": now.strftime("%Y-%m-%d %H:%M UTC"),
    "stats": found,
    "sources": by(found, "dataset"),
    "tasks": by(found, "task"),
  }
  folder = pathlib.Path(out)
  page_values = values | {"charts": pictures(found), "most": _MOST_ROWS}
  try:
    page = html.render(_TEMPLATES, "evaluate", **page_values)
    text = stats_markdown.render(**values)
    data = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    return [
      html.write(folder / "index.html", page),
      html.write(folder / "stats.md", text.encode("utf-8", "replace")),
      html.write(folder / "stats.json", data.encode("utf-8", "replace")),
    ]
  except html.PageError as error:
    raise AqaError(str(error)) from error
  except OSError as error:
    raise AqaError(f"{out}: cannot be written: {error}.") from error


def by(found: dict[str, Any], key: str) -> list[dict[str, Any]]:
  """Sums groups.

  Args:
    found: See `stats.collect`.
    key: `dataset` or `task`.

  Returns:
    For each value, the largest first: `name`, `questions`, `share`, and of
    these the shares `open` and `closed` of all questions.
  """
  sums = defaultdict(lambda: [0, 0])
  for group in found["groups"]:
    sums[group[key]][kind_of(group["task"]).is_closed] += group["questions"]
  total = found["questions"]
  rows = [
    {
      "name": name,
      "questions": opened + closed,
      "share": (opened + closed) / total,
      "open": opened / total,
      "closed": closed / total,
    }
    for name, (opened, closed) in sums.items()
  ]
  return sorted(rows, key=lambda row: (-row["questions"], row["name"]))


def pictures(found: dict[str, Any]) -> dict[str, list[Chart]]:
  """The curves: `lengths` and `vocabulary`, of questions and of answers."""
  classes = found["classes"]
  lengths, vocabulary = [], []
  for part in ("questions", "answers"):
    words = "; ".join(
      f"{name}: median {x[part]['words']['median']} words"
      for name, x in classes.items()
      if x["count"]
    )
    lengths.append(
      charts.histogram(
        f"Words of {part}",
        "words",
        {name: x[part]["counts_by_words"] for name, x in classes.items()},
        f"Words of {part}. {words}.",
      )
    )
    words = "; ".join(
      f"{name}: {x[part]['ngrams']['1']['distinct']:,} different words among"
      f" {x[part]['ngrams']['1']['all']:,}"
      for name, x in classes.items()
      if x["count"]
    )
    vocabulary.append(
      charts.curve(
        f"Vocabulary of {part}",
        "words read",
        "different words",
        {name: x[part]["curve"] for name, x in classes.items()},
        f"Vocabulary of {part}. {words}.",
      )
    )
  return {
    "lengths": [chart for chart in lengths if chart],
    "vocabulary": [chart for chart in vocabulary if chart],
  }
