"""The commands of the pages, run as they are written."""

import pytest

import page_kit
from doc_pages import ROOT
from tests import page_commands
from tests.page_commands import PageError

PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_has_a_mark(page):
  page_commands.blocks(page)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return page_kit.tiny_run(tmp_path_factory.mktemp("tiny"))


@pytest.mark.slow
@pytest.mark.parametrize(
  "page",
  [page for page in PAGES if "<!-- run: fast" in page.read_text()],
  ids=lambda page: page.stem,
)
def test_commands_of_a_page(page, run, tmp_path):
  folder = page_kit.make(tmp_path / page.stem, run)
  assert page_commands.run_page(page, folder)


def test_marks(tmp_path, monkeypatch):
  monkeypatch.setattr(page_commands, "ROOT", tmp_path)
  page = tmp_path / "page.md"
  page.write_text(
    "<!-- run: fast -->\n```bash\necho $((1 + 1)) > two\n```\n\n"
    "```json\n{}\n```\n\n"
    '<!-- run: slow, on 2 devices, until "up" -->\n```sh\nserve\n```\n\n'
    "- A list\n\n  <!-- not run: a day -->\n  ```python\n  1\n  ```\n\n"
    "<!-- setup:test -->\n```bash\npip\n```\n"
  )
  fast, slow, never, setup = page_commands.blocks(page)
  assert (fast.speed, fast.where) == ("fast", "page.md:2")
  assert (slow.speed, slow.devices, slow.until) == ("slow", 2, "up")
  assert (never.speed, never.reason, never.text) == ("", "a day", "1\n")
  assert (setup.speed, setup.reason) == ("", "setup:test")
  assert page_commands.run_page(page, tmp_path) == 1
  assert (tmp_path / "two").read_text() == "2\n"

  page.write_text("<!-- run: fast -->\n```bash\nfalse | true\n```\n")
  with pytest.raises(PageError, match=r"page\.md:2: status 1"):
    page_commands.run_page(page, tmp_path)
  page.write_text(
    "Text.\n\n```bash\nls\n```\n<!-- run: quick -->\n```sh\n```\n"
  )
  with pytest.raises(
    PageError, match=r"(?s)page\.md:3.*page\.md:7: has no mark"
  ):
    page_commands.blocks(page)
