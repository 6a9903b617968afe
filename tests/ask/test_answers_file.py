"""The answers file: what is kept, what is done again, what is refused."""

import json
import resource

import pytest

from ltu_jax.ask.answers_file import AnswersFile
from ltu_jax.ask.errors import AskError
from ltu_jax.ask.items import Item
from ltu_jax.ask.results import Part, Result

ITEMS = [Item(n, f"{n}.wav", f"/x/{n}.wav", "What?") for n in range(5)]


def result(number, error=""):
  parts = () if error else (Part(f"answer {number}", "stop", 3),)
  return Result(ITEMS[number], parts, 1.0, error=error)


def write(path, *results):
  file = AnswersFile(str(path), ITEMS)
  for one in results:
    file.add(one)
  file.close()


def missing(path, items=ITEMS):
  file = AnswersFile(str(path), items)
  found = [item.number for item in items if not file.is_done(item)]
  assert file.num_done == len(items) - len(found)
  file.close()
  return found


def test_answers_are_kept_and_failures_asked_again(tmp_path):
  path = tmp_path / "a.jsonl"
  write(path, result(3), result(0, "damaged"), result(1))
  assert missing(path) == [0, 2, 4]
  kept = [json.loads(line) for line in path.read_text().splitlines()]
  assert [line["item"] for line in kept] == [3, 1]
  assert [path.name] == [p.name for p in tmp_path.iterdir()]
  write(path, result(0), result(2), result(4))
  assert missing(path) == []
  assert len(path.read_text().splitlines()) == 5


def test_a_half_written_line_is_cut_off_wherever_it_ends(tmp_path):
  path = tmp_path / "a.jsonl"
  write(path, result(0), result(1))
  whole = path.read_bytes()
  first = whole.index(b"\n") + 1
  for end in range(first, len(whole)):
    path.write_bytes(whole[:end])
    assert missing(path) == [1, 2, 3, 4]
    assert path.read_bytes() == whole[:first]


def test_answers_to_other_questions_are_refused(tmp_path):
  path = tmp_path / "a.jsonl"
  write(path, result(0), result(4))
  before = path.read_bytes()
  other = [*ITEMS[:4], Item(4, "4.wav", "/x/4.wav", "Why?")]
  for items in (other, ITEMS[:4], [*ITEMS[:4], Item(4, "5.wav", "", "What?")]):
    with pytest.raises(AskError, match=r"other questions \(item 4 differs\)"):
      missing(path, items)
  assert path.read_bytes() == before
  longer = [*ITEMS, Item(5, None, None, "What?")]
  assert missing(path, longer) == [1, 2, 3, 5]


@pytest.mark.parametrize(
  "text",
  [
    "my notes",
    "my notes\n",
    "[]\n",
    '{"item": "0", "audio": "a", "question": "b"}\n',
    '{"item": 99999999999, "audio": "a", "question": "b"}\n',
    '{"item": 4000000000, "audio": "a", "question": "b"}\n',
    '{"item": 0}\n',
  ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
  path = tmp_path / "a.jsonl"
  path.write_text(text)
  with pytest.raises(AskError, match=r"line 1: .*Give another name"):
    missing(path)
  assert path.read_text() == text


def test_two_programs_do_not_write_to_one_file(tmp_path):
  path = tmp_path / "a.jsonl"
  write(path, result(0, "failed"))
  file = AnswersFile(str(path), ITEMS)  # which took the failure out
  with pytest.raises(AskError, match="another program writes to it"):
    AnswersFile(str(path), ITEMS)
  file.close()
  assert missing(path) == [0, 1, 2, 3, 4]


def test_a_file_that_cannot_be_written(tmp_path):
  with pytest.raises(AskError, match="cannot be written: No such"):
    AnswersFile(str(tmp_path / "absent" / "a.jsonl"), ITEMS)
  with pytest.raises(AskError, match="no plain file"):
    AnswersFile("/dev/full", ITEMS)


def test_a_full_disk(tmp_path):
  path = tmp_path / "a.jsonl"
  write(path, result(0))
  size = path.stat().st_size
  file = AnswersFile(str(path), ITEMS)
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
  try:
    with pytest.raises(AskError, match="what is there is kept"):
      file.add(result(1))
    file.close()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert path.stat().st_size == size + 10
  assert missing(path) == [1, 2, 3, 4]


def test_a_name_that_is_no_utf_8(tmp_path):
  path = tmp_path / "a.jsonl"
  items = [Item(0, "\udcff.wav", "x", "What?")]
  file = AnswersFile(str(path), items)
  file.add(Result(items[0], (Part("ö", "stop", 1),)))
  file.close()
  assert missing(path, items) == []
