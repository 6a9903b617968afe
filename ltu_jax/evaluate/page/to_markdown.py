"""The report as Markdown: the table, and all numbers of each set."""

from collections.abc import Sequence

from ltu_jax.evaluate.page import measures, paper
from ltu_jax.evaluate.page.comparing import Difference
from ltu_jax.evaluate.page.sections import Section
from ltu_jax.evaluate.page.table import Cell, Table
from ltu_jax.page.markdown import plain


def render(
  title: str,
  made: str,
  table: Table,
  sections: Sequence[Section],
  differences: Sequence[Difference],
) -> str:
  """Returns the text."""
  parts = [
    f"# {plain(title)}",
    f"Made {plain(made)}. All numbers are in percent; an interval is that of"
    " 95 % by bootstrap over items.",
  ]
  if differences:
    parts += [
      "**Not evaluated alike**: these checkpoints differ in more than their"
      " weights.",
      "\n".join(f"- {plain(str(d))}" for d in differences),
    ]
  parts += ["## Results", _results(table)]
  if table.notes:
    parts.append(
      "\n".join(f"{n}. {plain(x)}" for n, x in enumerate(table.notes, 1))
    )
  for section in sections:
    parts += [f"## {plain(section.title)}", _measures(section)]
    parts += [_gain(gain) for gain in section.gains]
  return "\n\n".join(parts) + "\n"


def _results(table: Table) -> str:
  """The table."""
  head = ("set", "measure", *paper.MODELS, *table.checkpoints)
  rows = [
    (line.title, line.metric, *line.published, *map(_cell, line.cells))
    for line in table.lines
  ]
  return _table(head, rows, left=2)


def _cell(cell: Cell) -> str:
  """A number with all that belongs to it."""
  if not cell.value:
    return ", ".join(filter(None, (cell.reason, cell.asked)))
  more = [
    cell.interval,
    cell.difference and f"{cell.difference} to LTU-7B",
    cell.asked,
    *(f"note {number}" for number in cell.notes),
  ]
  return f"{cell.value} ({'; '.join(filter(None, more))})"


def _measures(section: Section) -> str:
  """All metrics of a set."""
  head = ("measure", "protocol", "chance", *section.names)
  rows = [
    (line.metric, line.protocol, line.chance, *map(_value, line.values))
    for line in section.lines
  ]
  return _table(head, rows, left=2)


def _value(value: measures.Value) -> str:
  """A number with all that belongs to it."""
  if not value.value:
    return value.note
  more = (value.interval, value.count and f"on {value.count}", value.note)
  number = f"{value.value} {value.deviation}".strip()
  text = "; ".join(filter(None, more))
  return f"{number} ({text})" if text else number


def _gain(gain: measures.Gain) -> str:
  """A difference of checkpoints on the same items."""
  return (
    f"{plain(gain.name)} minus {plain(gain.first)}, on the same {gain.count}"
    f" items: {gain.points} points ({gain.interval})."
  )


def _table(
  head: Sequence[str], rows: Sequence[Sequence[str]], left: int
) -> str:
  """A table; the first columns are text, the others numbers."""
  rule = ["---" if place < left else "---:" for place in range(len(head))]
  lines = [[plain(x) for x in row] for row in (head, *rows)]
  lines.insert(1, rule)
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)
