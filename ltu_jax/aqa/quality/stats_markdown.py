"""The statistics as Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ltu_jax.evaluate import markdown
from ltu_jax.page.markdown import plain

Values = dict[str, Any]


def render(
  title: str,
  made: str,
  stats: Values,
  sources: Sequence[Values],
  tasks: Sequence[Values],
) -> str:
  """Returns the text.

  Args:
    title: Its heading.
    made: When.
    stats: See `stats.collect`.
    sources: Sums by source.
    tasks: Sums by task.
  """
  return "\n\n".join(_parts(title, made, stats, sources, tasks)) + "\n"


def percent(share: float | None) -> str:
  """A share of one in percent; "" for None."""
  return "" if share is None else f"{100 * share:.1f}"


def _parts(title, made, stats, sources, tasks) -> Iterator[str]:
  """Yields the paragraphs."""
  yield f"# {plain(title)}"
  about = "" if stats["clips"]["exact"] else "about "
  yield (
    f"Made {plain(made)}. {stats['questions']:,} questions about"
    f" {about}{stats['clips']['count']:,} clips, of:"
  )
  yield "\n".join(f"- {plain(x)}: {n:,}" for x, n in stats["files"].items())
  for name, sums in (("source", sources), ("task", tasks)):
    yield f"## By {name}"
    yield _table(
      (name, "questions", "%"),
      ([x["name"], f"{x['questions']:,}", percent(x["share"])] for x in sums),
    )
  yield "## By source and task"
  yield _table(
    ("source, task", "questions", "%", "words of question", "of answer"),
    (
      [
        f"{x['dataset']}, {x['task']}",
        f"{x['questions']:,}",
        percent(x["share"]),
        f"{x['question_words']['mean']:.1f}",
        f"{x['answer_words']['mean']:.1f}",
      ]
      for x in stats["groups"]
    ),
  )
  classes = {name: x for name, x in stats["classes"].items() if x["count"]}
  yield "## Types of questions, in percent"
  types = next(iter(classes.values()))["types"]
  yield _table(
    ("type", *classes),
    (
      [
        kind,
        *(percent(x["types"][kind] / x["count"]) for x in classes.values()),
      ]
      for kind in types
    ),
  )
  yield "## Lengths and diversity"
  yield _table(*_diversity(classes))
  yield (
    "Unique: different texts, of all texts. n-grams: different ones, of all."
    " Both shares fall with the number of texts: compare sets of one size."
  )
  for name, one in classes.items():
    yield f"## Most frequent {name} questions"
    if one["frequent_low_by"]:
      yield f"Counts may be too low by {one['frequent_low_by']:,}."
    yield _table(
      ("question", "times"), ([text, f"{n:,}"] for text, n in one["frequent"])
    )
  yield "## Quality gates"
  yield _table(
    ("gate", "looked at", "flagged", "%"),
    (
      [
        f"{name}: {x['rule']}",
        f"{x['looked_at']:,}",
        f"{x['flagged']:,}",
        percent(x["share"]),
      ]
      for name, x in stats["check"]["gates"].items()
    ),
  )


def _diversity(classes: Values) -> tuple[Sequence[str], list[list[str]]]:
  """Head and rows of the table."""
  head = ("texts", "words, mean", "median", "95th percentile", "unique %")
  head += tuple(f"distinct {n}-grams %" for n in "123")
  rows = [
    [
      f"{name} {part}",
      f"{one[part]['words']['mean']:.1f}",
      str(one[part]["words"]["median"]),
      str(one[part]["words"]["p95"]),
      percent(one[part]["texts"]["share"]),
      *(percent(one[part]["ngrams"][n]["share"]) for n in "123"),
    ]
    for name, one in classes.items()
    for part in ("questions", "answers")
  ]
  return head, rows


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A table with texts of any kind."""
  return markdown.table(head, [[plain(x) for x in row] for row in rows])
