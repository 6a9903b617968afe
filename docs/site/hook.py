"""What the site has beside docs/: pages from elsewhere, and the API.

MkDocs calls the functions on_*. A page keeps the links that it has in the
repository: they are turned here, so that they work on both.
"""

import pathlib
import posixpath
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).parents[2]

PAGES = {
  "README.md": "index.md",
  "CHANGELOG.md": "changelog.md",
  "CONTRIBUTING.md": "contributing.md",
  "benchmarks/README.md": "benchmarks.md",
  "launch/README.md": "launch.md",
  "tfds_builders/openaqa/README.md": "data_set.md",
}
"""Path in the repository of each page that is not in docs/ -> on the site."""

PACKAGES = ("ltu_jax", "tfds_builders", "configs")
"""What the API is of."""

_SKIPPED = re.compile(r"^(`{3,}).*?^\1|`[^`\n]+`", re.DOTALL | re.MULTILINE)
"""Code, in which nothing is a link."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
  """Puts the API's pages into the navigation."""
  (section,) = [part for part in config.nav if "API" in part]
  section["API"] = [_navigation(ROOT / name) for name in PACKAGES]
  return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Adds the pages that do not lie in docs/."""
  for source, page in PAGES.items():
    if (ROOT / source).exists():
      made = File.generated(config, page, abs_src_path=str(ROOT / source))
      made.edit_uri = None
      files.append(made)
  for name in PACKAGES:
    for module in _modules(ROOT / name):
      text = f"::: {module}\n"
      made = File.generated(config, _api_page(module), content=text)
      made.edit_uri = None
      files.append(made)
  return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_) -> str:
  """Turns the links of a page of the repository to the site's."""
  known = {site: source for source, site in PAGES.items()}
  page_uri = page.file.src_uri
  if page_uri.startswith("api/"):
    return markdown
  folder = posixpath.dirname(known.get(page_uri, f"docs/{page_uri}"))

  def turned(match: re.Match) -> str:
    """A link as the site has it, or its text where the site has no such."""
    image, text, target = match.groups()
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or not parts.path:
      return match[0]
    path = posixpath.normpath(posixpath.join(folder, parts.path))
    uri = _on_site(path)
    if files.get_file_from_path(uri) is None:
      return text
    link = posixpath.relpath(uri, posixpath.dirname(page_uri) or ".")
    anchor = f"#{parts.fragment}" if parts.fragment else ""
    return f"{image}[{text}]({link}{anchor})"

  return "".join(
    piece if is_code else _LINK.sub(turned, piece)
    for is_code, piece in _pieces(markdown)
  )


def _pieces(markdown: str) -> Iterator[tuple[bool, str]]:
  """Yields (whether it is code, text), in order."""
  end = 0
  for match in _SKIPPED.finditer(markdown):
    # Code in the text of a link is no piece of its own.
    if _inside_link(markdown, match.start()):
      continue
    yield False, markdown[end : match.start()]
    yield True, match[0]
    end = match.end()
  yield False, markdown[end:]


def _inside_link(markdown: str, place: int) -> bool:
  """Whether a place is in the brackets of a link."""
  start = markdown.rfind("[", 0, place)
  found = _LINK.match(markdown, start) if start >= 0 else None
  return found is not None and found.end() > place


def _on_site(path: str) -> str:
  """Where the site has a file of the repository, if it has it."""
  if path in PAGES:
    return PAGES[path]
  if path.endswith(".py") and path.split("/")[0] in PACKAGES:
    module = path.removesuffix(".py").removesuffix("/__init__")
    return _api_page(module.replace("/", "."))
  return path.removeprefix("docs/")


def _api_page(module: str) -> str:
  """The page of a module; of a package, index.md in its folder."""
  path = module.replace(".", "/")
  if (ROOT / path).is_dir():
    return f"api/{path}/index.md"
  return f"api/{path}.md"


def _modules(package: pathlib.Path) -> Iterator[str]:
  """Yields the names of a package and of all that is in it."""
  yield ".".join(package.relative_to(ROOT).parts)
  for path in _children(package):
    if path.is_dir():
      yield from _modules(path)
    else:
      yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _children(package: pathlib.Path) -> list[pathlib.Path]:
  """Modules and packages of a package, by name."""
  return sorted(
    path
    for path in package.iterdir()
    if (path.suffix == ".py" and not path.name.startswith("_"))
    or (path / "__init__.py").exists()
  )


def _navigation(package: pathlib.Path) -> dict[str, list]:
  """The part of the navigation for a package."""
  name = ".".join(package.relative_to(ROOT).parts)
  entries: list = [_api_page(name)]
  for path in _children(package):
    if path.is_dir():
      entries.append(_navigation(path))
    else:
      entries.append({path.stem: _api_page(f"{name}.{path.stem}")})
  return {package.name: entries}
