"""Markdown that is aligned for reading as it is."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Renders a table with aligned columns, all but the first to the right.

  Args:
    head: Names of the columns.
    rows: Cells, as many as there are columns.
  """
  cells = [head, *rows]
  widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

  def line(row):
    return (
      "| "
      + " | ".join(
        cell.rjust(width) if i else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
      )
      + " |"
    )

  rule = ["-" * (w - 1) + ":" if i else "-" * w for i, w in enumerate(widths)]
  return "\n".join([line(head), line(rule), *map(line, rows)])
