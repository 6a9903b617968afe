"""The Markdown pages of the repository, taken apart; no test."""

import collections
import itertools
import os
import pathlib
import re

from markdown_it import MarkdownIt

ROOT = pathlib.Path(__file__).parents[2]

_NO_SOURCES = {"build", "dist", "runs", "node_modules"}


def all_pages() -> list[pathlib.Path]:
  found = []
  for folder, names, files in os.walk(ROOT):
    names[:] = [
      n for n in names if not n.startswith(".") and n not in _NO_SOURCES
    ]
    found += [pathlib.Path(folder, f) for f in files if f.endswith(".md")]
  return sorted(found)


def tokens(path):
  """(line, token) of markdown-it, block and inline ones in one list."""
  found, line = [], 0
  for token in MarkdownIt("commonmark").enable("table").parse(path.read_text()):
    line = token.map[0] + 1 if token.map else line
    found += [(line, t) for t in [token, *(token.children or [])]]
  return found


def links(path):
  """(line, target) of all links and pictures."""
  for line, token in tokens(path):
    if target := token.attrGet("href") or token.attrGet("src"):
      yield line, target


def anchors(path):
  """The anchors that GitHub gives a page's headings."""
  seen, found = collections.Counter(), set()
  stream = [token for _, token in tokens(path)]
  for token, text in itertools.pairwise(stream):
    if token.type != "heading_open":
      continue
    words = "".join(
      t.content for t in text.children if t.type in ("text", "code_inline")
    )
    # As github/cmark's tables of contents: letters, digits, "-" and "_" stay.
    slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
    found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
    seen[slug] += 1
  return found


def code(path):
  """(line, text) of code in the text, and of blocks that are commands."""
  for line, token in tokens(path):
    is_commands = token.type == "fence" and token.info in ("bash", "sh")
    if is_commands or token.type == "code_inline":
      yield line, token.content
