"""JSON that no one should have written."""

import pytest

from ltu_jax import json_text


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
    ("9" * 5000, "4300 digits"),
    (b"\xff", "utf-8"),
    ("{", "Expecting property name"),
    ('{"a": {"b": 1, "b": 2}}', "it has twice: b"),
  ],
)
def test_what_is_no_value_is_a_value_error(text, words):
  with pytest.raises(ValueError, match=words):
    json_text.parse(text, unique=True)


def test_a_huge_file_is_not_read(tmp_path):
  path = tmp_path / "a.json"
  path.write_bytes(b" " * json_text.MOST_BYTES)
  with pytest.raises(ValueError, match="Expecting value"):
    json_text.read(path)
  path.write_bytes(b" " * (json_text.MOST_BYTES + 1))
  with pytest.raises(ValueError, match="it has over 16 MB"):
    json_text.read(path)
  path.write_text('{"a": [1]}')
  assert json_text.read(path) == {"a": [1]}
