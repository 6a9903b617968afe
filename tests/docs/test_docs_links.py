"""What the pages point to is there: files, headings, modules, tests."""

import functools
import pathlib
import re
from urllib.parse import unquote, urlsplit

import doc_pages as pages
from doc_pages import ROOT

TOP = "benchmarks configs docs examples launch ltu_jax tests tfds_builders"

# A path below one of these folders, or the bare name of a Python file.
_PATH = re.compile(
  rf"(?<![\w./=$-])((?:{'|'.join(TOP.split())}|shared|\.ci)/[\w./*-]*[\w/*]"
  r"|(?:[\w]+/)*\w+\.py)(?![\w/*])"
)
_MODULE = re.compile(rf"-m ((?:{'|'.join(TOP.split())})\b[\w.]*)")
# Beside the repository, and what CONTRIBUTING.md says there is none of.
_OUTSIDE = ("shared/", "utils.py")

_anchors = functools.cache(pages.anchors)


def test_links_and_anchors():
  wrong, looked_at = [], 0
  for page in pages.all_pages():
    for line, target in pages.links(page):
      parts = urlsplit(target)
      if parts.scheme in ("http", "https", "mailto"):
        continue
      looked_at += 1
      path = (page.parent / unquote(parts.path)).resolve()
      path = path if parts.path else page
      told = f"{page.relative_to(ROOT)}:{line}: {target}"
      if not path.exists() or not path.is_relative_to(ROOT):
        wrong.append(told)
      elif parts.fragment and parts.fragment not in _anchors(path):
        wrong.append(f"{told}: has no such heading")
  assert not wrong, "\n".join(wrong)
  assert looked_at > 40  # the pages were found, and taken apart


def test_files_and_modules_named_in_code():
  wrong, looked_at = [], 0
  for page in pages.all_pages():
    for line, text in pages.code(page):
      for path in _PATH.findall(text):
        looked_at += 1
        if not _is_there(path, page):
          wrong.append(f"{page.relative_to(ROOT)}:{line}: {path}")
      for module in _MODULE.findall(text):
        looked_at += 1
        path = ROOT / module.replace(".", "/")
        if not (path.is_dir() or path.with_suffix(".py").is_file()):
          wrong.append(f"{page.relative_to(ROOT)}:{line}: -m {module}")
  assert not wrong, "\n".join(wrong)
  assert looked_at > 150


def _is_there(path: str, page: pathlib.Path) -> bool:
  """Whether a path is in the repository; names in capitals stand for any."""
  if path.startswith(_OUTSIDE) or pathlib.Path(path).stem.isupper():
    return True
  if any(any(start.glob(path.rstrip("/"))) for start in (ROOT, page.parent)):
    return True
  # Where a page is of one package, it names its files from there.
  return any(name.endswith(f"/{path}") for name in _modules())


@functools.cache
def _modules() -> list[str]:
  """The paths of all modules in the folders of the repository."""
  return [
    f"/{path.relative_to(ROOT).as_posix()}"
    for top in TOP.split()
    for path in (ROOT / top).rglob("*.py")
  ]


def test_what_is_wrong_is_found(tmp_path):
  """The checks above see each kind of link and of code."""
  page = tmp_path / "page.md"
  page.write_text(
    "# A `b` & c\n\n## Twice\n## Twice\n\n"
    "| x |\n| --- |\n| [in a table](a.md#b) `tests/none.py::f` |\n\n"
    "![picture](no.png)\n\n```bash\npython -m ltu_jax.nothing x.py\n```\n"
    "`[no](link.md)`\n"
  )
  assert [target for _, target in pages.links(page)] == ["a.md#b", "no.png"]
  assert pages.anchors(page) == {"a-b--c", "twice", "twice-1"}
  texts = [text for _, text in pages.code(page)]
  assert [_PATH.findall(text) for text in texts] == [
    *([], ["tests/none.py"], ["x.py"], [])
  ]
  assert not _is_there("tests/none.py", page)
  assert not _is_there("config_chek.py", page)
  assert _is_there("models/ast.py", page)
