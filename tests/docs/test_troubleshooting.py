"""The messages that docs/troubleshooting.md explains are those of the code."""

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[2]

PAGE = ROOT / "docs" / "troubleshooting.md"

# Of pip, of XLA, of ml_collections, and lines that are no errors.
OTHERS = re.compile(
  r"ERROR: Package|RESOURCE_EXHAUSTED|--config: …|no field …|data 40%"
)


def messages() -> list[str]:
  """First code span of each row."""
  rows = re.findall(r"^\| `([^`]*)`", PAGE.read_text(), re.MULTILINE)
  return [row for row in rows if not OTHERS.match(row)]


def text(node: ast.AST) -> str:
  """A string with "…" for what is filled in; "" if it is none."""
  match node:
    case ast.Constant(value=str(value)):
      return value
    case ast.JoinedStr(values=values):
      return "".join(text(value) or "…" for value in values)
    case ast.BinOp(left=left, op=ast.Add(), right=right):
      return (text(left) or "…") + (text(right) or "…")
  return ""


def strings() -> Iterator[str]:
  for path in (ROOT / "ltu_jax").rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if found := text(node):
        yield " ".join(found.split())


@pytest.fixture(scope="module")
def said() -> list[str]:
  return [*strings()]


def test_there_are_many():
  assert len(messages()) > 40


def test_each_is_said_by_the_program(said):
  missing = []
  for message in messages():
    parts = [part.strip() for part in message.split("…") if part.strip()]
    in_order = re.compile(".*".join(map(re.escape, parts)), re.DOTALL)
    if not any(in_order.search(line) for line in said):
      missing.append(message)
  assert not missing
