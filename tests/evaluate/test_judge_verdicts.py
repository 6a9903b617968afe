"""The file of verdicts: whatever a kill left, and whatever it is not."""

import json

import pytest

from ltu_jax.endpoint.chat import Said
from ltu_jax.endpoint.errors import EndpointError
from ltu_jax.evaluate.judging import verdicts
from ltu_jax.evaluate.judging.verdicts import VerdictsFile


def key(n):
  return verdicts.digest("m", "q", str(n))


def add(file, n):
  file.add(key(n), "m", "q", str(n), Said(f"Yes {n}", (3, 1), {}))


def test_cut_at_every_byte(tmp_path):
  path = tmp_path / "a.jsonl"
  with VerdictsFile(path) as file:
    for n in range(3):
      add(file, n)
  whole = path.read_bytes()
  ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
  for size in range(len(whole) + 1):
    path.write_bytes(whole[:size])
    with VerdictsFile(path) as file:
      good = sum(end <= size for end in ends)
      said = [file.get(key(n)) for n in range(3)]
      assert said == [f"Yes {n}" if n < good else None for n in range(3)]
      for n in range(good, 3):
        add(file, n)
    assert path.read_bytes() == whole


def test_digest_is_of_all_that_is_asked(monkeypatch):
  known = {verdicts.digest(*x) for x in ("abc", "xbc", "axc", "abx")}
  known.add(verdicts.digest("ab", "", "c"))
  monkeypatch.setattr(verdicts.prompt, "PROMPT", "other")
  assert len(known | {verdicts.digest(*"abc")}) == 6


@pytest.mark.parametrize(
  "text",
  [
    "notes",
    "notes\n",
    "[]\n",
    '{"key": 1, "said": "x"}\n',
    '{"key": "a"}\n',
    '{"key": "a", "said": null}\n',
    '{"key": "a", "said": "x"}\n{"item": 3',
    "\n",
  ],
)
def test_other_files_are_left_as_they_are(tmp_path, text):
  path = tmp_path / "a.jsonl"
  path.write_text(text)
  with pytest.raises(EndpointError, match=r"a\.jsonl, line \d"):
    VerdictsFile(path)
  assert path.read_text() == text


def test_only_one_writes(tmp_path):
  path = tmp_path / "a.jsonl"
  error = pytest.raises(EndpointError, match="another program")
  with VerdictsFile(path), error:
    VerdictsFile(path)
  with VerdictsFile(path):
    pass


def test_cannot_be_written(tmp_path):
  with pytest.raises(EndpointError, match="cannot be written"):
    VerdictsFile(tmp_path)


def test_disk_is_full():
  # Linux's device that is always full; it cannot be truncated, so is not opened
  # by name.
  file = object.__new__(VerdictsFile)
  file._path, file._at = "full", {}
  error = pytest.raises(EndpointError, match="No space left")
  with open("/dev/full", "ab") as file._file, error:
    add(file, 1)
  assert file.get(key(1)) is None


def test_lines_are_ascii(tmp_path):
  path = tmp_path / "a.jsonl"
  with VerdictsFile(path) as file:
    file.add("k", "m", "\u2028", "\ud800", Said("\x85", (1, 1), {}))
  assert json.loads(path.read_bytes().decode("ascii"))["response"] == "\ud800"
  with VerdictsFile(path) as file:
    assert file.get("k") == "\x85"
