"""Any text of an item comes back from its file."""

import os

import pytest

from ltu_jax.evaluate import result


@pytest.mark.parametrize(
  "text",
  [
    "two\nlines\r\nand more\r",
    # Each of these ends a line for str.splitlines.
    "\v \f \x1c \x1d \x1e \x85 \u2028 \u2029",
    # A file name that is no UTF-8, as the system gives it.
    os.fsdecode(b"caf\xe9.wav"),
    "\U0001f41d \0 \\udcff \"'",
  ],
)
def test_an_item_comes_back_whatever_its_text(tmp_path, text):
  item = result.ItemResult(
    text, text, text, text, (text,), (text, ""), {"a": text}, {"a": 1.0}
  )
  made = result.Result(
    *("esc50", text, "classification", {"name": text}, "", ""),
    *({}, "", {}, {}, {}, [], None, 1.0, {}),
  )
  result.write(tmp_path, made, [item, item])
  read = result.read_items(tmp_path / "esc50.json")
  assert [(x.id, x.path, tuple(x.answers)) for x in read] == [
    (text, text, (text, ""))
  ] * 2
  assert result.read(tmp_path / "esc50.json").title == text
