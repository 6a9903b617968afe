"""Counting and dropping what the gates flag, from a file to a file."""

import itertools
import json
import tracemalloc

import pytest

from ltu_jax import json_items
from ltu_jax.aqa.errors import AqaError
from ltu_jax.aqa.quality import check as check_lib
from ltu_jax.aqa.quality import duplicates
from ltu_jax.aqa.quality.check import check
from ltu_jax.aqa.quality.gates import GateSettings
from made_up_answers import qa, write
from tfds_builders.openaqa.full import entries
from tfds_builders.openaqa.full.entries import EntryReader
from tfds_builders.openaqa.full.tally import Tally

GOOD = "The dog is large, because its bark is deep."
ROWS = [
  qa("How large is the dog?", GOOD),
  qa("How large is the dog", GOOD),  # The same in the clip.
  qa("How large is the dog?", GOOD, audio_id="b.flac"),  # The same overall.
  qa("Where is the dog now?", "It cannot be told."),
  qa("When does the dog bark?", "It barks from 0.0s to 1.2s and again."),
  qa("Whose dog is that?", "Mine."),
  qa("Wessen Hund ist das?", "Это собака, и она лает."),
  qa("When does it bark?", "[0.0s-1.2s]", task="temporal_single"),
  qa("When does it bark?", "[0.0s-1.2s]", task="temporal_single"),
  qa("Describe it.", "A dog barks [0.0s-1.2s].", task="caption"),
]
WANT = {
  "language": [6],
  "length": [5, 9],
  "unanswerable": [3],
  "leak": [4],
  "same_in_clip": [1],
  "near_in_clip": [],
  "same_overall": [1, 2],
  "near_overall": [],
}


def test_gates_are_counted(tmp_path):
  report = check(write(tmp_path / "in.json", ROWS))
  gates = report["gates"]
  assert {name: gate["flagged"] for name, gate in gates.items()} == {
    name: len(rows) for name, rows in WANT.items()
  }
  assert report["questions"] == report["kept"] == 10
  assert report["flagged"] == len({*itertools.chain(*WANT.values())})
  looked = {name: gate["looked_at"] for name, gate in gates.items()}
  # Two questions for times pass all gates; one for a caption passes but two.
  assert looked == dict.fromkeys(WANT, 7) | {"language": 8, "length": 8}
  assert gates["leak"]["reasons"] == {"a time stamp": 1}
  assert gates["leak"]["share"] == 1 / 7
  text = check_lib.as_text(report)
  assert "| unanswerable | 7 | 1 | 14.3 % | cannot (1) |" in text
  assert sorted(tmp_path.iterdir()) == [tmp_path / "in.json"]


@pytest.mark.parametrize("drop", [(), ("leak",), ("length", "same_overall")])
def test_what_is_kept_is_written_in_the_published_form(tmp_path, drop):
  path, out = write(tmp_path / "in.json", ROWS), tmp_path / "new" / "out.json"
  report = check(path, out, drop)
  gone = {row for gate in drop for row in WANT[gate]}
  want = [row for number, row in enumerate(ROWS) if number not in gone]
  assert json.loads(out.read_text(encoding="utf-8")) == want
  assert report["kept"] == len(want) and report["dropped"] == len(gone)
  saved = json.loads((tmp_path / "new" / "out.report.json").read_text())
  assert saved == report
  # The reader of the builds takes all of it.
  left_out = Tally({})
  reader = EntryReader(out, left_out, Tally({}))
  assert [entry._asdict() for entry in reader] == want
  names = sorted(x.name for x in out.parent.iterdir())
  assert names == ["out.json", "out.report.json"]


def test_nothing_kept_is_an_empty_list(tmp_path):
  out = tmp_path / "out.json"
  check(write(tmp_path / "in.json", [ROWS[5]]), out, ["length"])
  assert json.loads(out.read_text()) == []


def test_what_is_dropped_for_its_text_hides_no_later_question(tmp_path):
  leak = "It barks from 0.0s to 1.2s and again."
  rows = [qa("When does the dog bark?", leak), qa("When does the dog bark?")]
  out = tmp_path / "out.json"
  check(write(tmp_path / "in.json", rows), out, ["leak", "same_in_clip"])
  assert json.loads(out.read_text()) == rows[1:]


def test_entries_that_are_none_are_told(tmp_path):
  report = check(write(tmp_path / "in.json", [3, {"output": "x"}, ROWS[0]]))
  assert report["questions"] == 1
  assert {k: v["count"] for k, v in report["left_out"].items()} == {
    "not_an_object": 1,
    "missing_key": 1,
  }
  assert "1 entries left out: an entry has to be" in check_lib.as_text(report)


def test_mistakes_are_told_and_leave_nothing(tmp_path):
  path, out = write(tmp_path / "in.json", ROWS), tmp_path / "out.json"
  with pytest.raises(AqaError, match="no gate 'leaks'; the gates are language"):
    check(path, out, ["leaks"])
  with pytest.raises(AqaError, match="is the file to read"):
    check(path, path)
  with pytest.raises(AqaError, match="no such file"):
    check(tmp_path / "none.json")
  path.write_text(path.read_text()[:-200])
  with pytest.raises(AqaError, match="ends early"):
    check(path, out)
  assert sorted(tmp_path.iterdir()) == [path]
  (tmp_path / "file").write_text("")
  with pytest.raises(AqaError, match="cannot be written"):
    check(write(path, ROWS), tmp_path / "file" / "out.json")


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
  monkeypatch.setattr(duplicates, "_MOST_SLOTS", 1 << 10)
  # What the parser holds: both files have many of these pieces.
  for reader in (json_items, entries):
    monkeypatch.setattr(reader, "_PIECE", 1 << 14)

  def peak(count):
    rows = (qa(f"What is number {i} of {i * 7} dogs?") for i in range(count))
    path = write(tmp_path / "in.json", list(rows))
    tracemalloc.start()
    check(path, tmp_path / "out.json", settings=GateSettings(most=100))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most

  peak(10)  # What is imported and compiled once.
  # The entries as objects would take 2 MB more; what the interpreter frees
  # later is some kB.
  assert peak(2200) < peak(200) + 200_000
