"""The texts beside the records: written, joined, read, damaged."""

import gzip
import json

import pytest

from ltu_jax.data import question_texts

CLIPS = [
  [["What?", "", "A café's ♫."], ["How?\nWhy?", "more", "\t"]],
  [],
  [['"Quoted"', "", "\u2028 is no line's end"]],
]


def test_read_gives_what_was_written(tmp_path):
  file = question_texts.path(tmp_path, "train")
  question_texts.save(file, CLIPS)
  assert file.name == "question_texts-train.jsonl.gz"
  assert [*question_texts.read(file)] == CLIPS
  # Others read it with the standard library's gzip and json.
  with gzip.open(file, "rt", encoding="utf-8", newline="\n") as lines:
    assert [json.loads(line) for line in lines] == CLIPS


def test_the_same_texts_are_the_same_bytes(tmp_path):
  for name in "ab":  # the name is in the header of a usual gzip file
    question_texts.save(tmp_path / name, CLIPS)
  assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_joined_parts_read_as_one(tmp_path):
  parts = [tmp_path / f"{i}" for i in range(4)]
  for part, clips in zip(parts, [CLIPS, [], CLIPS[:1], CLIPS], strict=True):
    question_texts.save(part, clips)
  question_texts.join(parts, tmp_path / "all")
  assert [*question_texts.read(tmp_path / "all")] == CLIPS + CLIPS[:1] + CLIPS


@pytest.mark.parametrize(
  "spoil",
  [
    lambda packed: packed[: len(packed) // 2],
    lambda packed: packed[:-3],
    lambda packed: packed[:30] + b"\0\0\0\0" + packed[34:],
    lambda packed: b"no gzip file",
    lambda packed: gzip.compress(b'[["a", "", "b"]]\n[["a", 1, "b"]]\n'),
    lambda packed: gzip.compress(b'[["a", "b"]]\n'),
    lambda packed: gzip.compress(b'{"a": 1}\n'),
    lambda packed: gzip.compress(b'[["\xff", "", ""]]\n'),
  ],
)
def test_damage_is_one_error(tmp_path, spoil):
  file = tmp_path / "texts"
  question_texts.save(file, CLIPS)
  file.write_bytes(spoil(file.read_bytes()))
  with pytest.raises(question_texts.TextsError, match=r"texts is damaged.*bui"):
    [*question_texts.read(file)]
