"""Tables of questions: what they say, and what is refused."""

import csv
import json
import tracemalloc

import pytest

from ltu_jax.ask.errors import AskError
from ltu_jax.ask.table import Table
from ltu_jax.data.prompts import build_prompt


def table(tmp_path, name, text, **given):
  path = tmp_path / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return Table(str(path), **given)


def rows(found):
  return [(i.number, i.audio, i.question, i.reference) for i in found]


ROWS = [
  (0, "a.wav", 'Who said "hi, you"?', "a man"),
  (1, None, "Ünd?", ""),
  (2, "/x/c d.wav", "Two\nlines?", "3"),
]


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_the_three_forms_say_the_same(tmp_path, ending, published):
  names = ("audio_id", "instruction", "output")
  names = names if published else ("audio", "question", "reference")
  path = tmp_path / f"q.{ending}"
  cells = [dict(zip(names, row[1:], strict=True)) for row in ROWS]
  with path.open("w", newline="", encoding="utf-8") as file:
    if ending == "csv":
      writer = csv.DictWriter(file, names)
      writer.writeheader()
      writer.writerows(cells)
    elif ending == "json":
      json.dump(cells, file)
    else:
      file.writelines(json.dumps(row) + "\n" for row in cells)
  found = Table(str(path), root="/sounds")
  assert len(found) == 3 and rows(found) == ROWS
  assert [i.path for i in found] == ["/sounds/a.wav", None, "/x/c d.wav"]
  assert next(iter(Table(str(path)))).path == str(tmp_path / "a.wav")


def test_the_published_form(tmp_path):
  entry = {
    "instruction": "What is it?",
    "input": "a hint",
    "audio_id": "d/a.flac",
    "dataset": "esc50",
    "task": "cla",
    "output": "a dog",
  }
  [item] = table(tmp_path, "eval.json", json.dumps([entry]))
  assert (item.audio, item.reference) == ("d/a.flac", "a dog")
  assert item.path == str(tmp_path / "d/a.flac")
  assert build_prompt(item.text) == build_prompt("What is it?", "a hint")


def test_a_question_for_rows_without_one(tmp_path):
  text = "audio,question\na.wav,\nb.wav,Why?\n"
  found = table(tmp_path, "q.csv", text, question="What?")
  assert [item.question for item in found] == ["What?", "Why?"]
  [item] = table(tmp_path, "p.csv", "audio\na.wav\n", question="What?")
  assert item.question == "What?"


@pytest.mark.parametrize(
  "name, text, message",
  [
    ("q.txt", "", "must end in .csv, .jsonl, .json"),
    ("q.csv", "", "holds no questions"),
    ("q.csv", "audio,question\n", "holds no questions"),
    ("q.csv", "audio,qestion\na,b\n", "line 1: unknown column 'qestion'"),
    ("q.csv", "question\nWhy?\n", "line 1: no column audio"),
    ("q.csv", "audio,audio_id\na,b\n", "line 1: both audio and audio_id"),
    ("q.csv", "audio,audio\na,b\n", "line 1: there twice: audio"),
    ("q.csv", "audio,question\na,b\nc,\n", "line 3: no question"),
    ("q.csv", "audio,question\na,b, or c\n", "line 2: 3 cells under 2"),
    ("q.csv", 'audio,question\na,"b\n', "unexpected end of data"),
    ("q.csv", b"audio,question\na,\xff\n", "is no UTF-8"),
    ("q.jsonl", '{"audio": "a"', "line 1: no JSON"),
    (
      "q.jsonl",
      '{"audio": "a", "audio": "b"}',
      "line 1: no JSON: it has twice",
    ),
    ("q.jsonl", '\n{"question": "Why?"}\n', "line 2: no column audio"),
    ("q.jsonl", "[1]\n", "line 1: an object is needed, not list"),
    ("q.jsonl", "[" * 100_000, "line 1: no JSON"),
    ("q.json", '{"audio": "a"}', "one JSON list is needed"),
    ("q.json", '[{"audio": "a", "question": 3}]', "question is int, not text"),
    ("q.json", '[{"audio": "a", "question": "b"}, 5]', "entry 2: an object"),
    ("q.json", '[{"audio": "a", "question": "b"}', "entry 2: "),
  ],
)
def test_what_is_refused(tmp_path, name, text, message):
  with pytest.raises(AskError) as error:
    len(table(tmp_path, name, text))
  assert message in str(error.value)
  assert str(tmp_path / name) in str(error.value)
  assert "\n" not in str(error.value)


def test_a_table_that_is_not_there(tmp_path):
  with pytest.raises(AskError, match="not found"):
    len(Table(str(tmp_path / "absent.csv")))
  (tmp_path / "folder.csv").mkdir()
  with pytest.raises(AskError, match="no plain file"):
    len(Table(str(tmp_path / "folder.csv")))


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_a_long_table_is_not_held(tmp_path, ending):
  row = json.dumps({"audio": "a.wav", "question": "x" * 1000})
  between, around = ("\n", "{}") if ending == "jsonl" else (",", "[{}]")
  around = around.replace("{}", "%s")
  path = tmp_path / f"q.{ending}"
  path.write_text(around % between.join([row] * 10_000))
  tracemalloc.start()
  assert len(Table(str(path))) == 10_000
  # The file has 10 MB; a parser's piece of 1 MB is held a few times.
  assert tracemalloc.get_traced_memory()[1] < 7 << 20
  tracemalloc.stop()
