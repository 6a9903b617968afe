"""How long all texts are: counted, kept, read by others."""

import pathlib

import numpy as np
import pytest

import made_up_clips
import tiny_bpe
from ltu_jax.data import (
  prompts,
  question_texts,
  text_lengths,
  tokenizer,
)
from ltu_jax.data.openaqa import make_row
from ltu_jax.data.question_source import QuestionSource

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SPM = tokenizer.SentencePieceTokenizer(GOLDEN / "tiny_spm.model")


class Unread(list):
  """Records that must not be read."""

  def __getitem__(self, number):
    raise AssertionError(f"record {number} was read")


def with_texts(folder, records=None):
  """The made-up clips with a file of their texts."""
  made, index = made_up_clips.make()
  file = question_texts.path(folder, "train")
  clips = []
  for record in made:
    asked, answers = (
      [text.decode() for text in record["questions"][key]]
      for key in ("instruction", "output")
    )
    clips.append([(q, "", a) for q, a in zip(asked, answers, strict=True)])
  question_texts.save(file, clips)
  records = made if records is None else records
  return QuestionSource(records, index, "made up", file)


def true_lengths():
  """By making every row."""
  source = QuestionSource(*made_up_clips.make())
  rows = [make_row([source[i]], SPM) for i in range(len(source))]
  return [int(row["segment_ids"].sum()) for row in rows]


def test_lengths_are_those_of_the_rows(tmp_path, capsys):
  source = with_texts(tmp_path, Unread([None] * 7))
  assert text_lengths.measure(source, SPM).tolist() == true_lengths()
  assert "counted the tokens of 21 questions" in capsys.readouterr().out


def test_without_a_file_the_records_are_read_and_that_is_said(capsys):
  records, index = made_up_clips.make()
  records[3]["questions"]["output"][1] = b"\xff"  # clip 3 has rows 3, 4, 5
  source = QuestionSource(records, index)
  lengths = text_lengths.measure(source, SPM)
  assert "reads all 7 records, sound included" in capsys.readouterr().out
  want = true_lengths()
  want[3:6] = [text_lengths.MOST] * 3
  assert lengths.tolist() == want


@pytest.mark.parametrize("kind", ["sentencepiece", "json"])
def test_counts_are_the_lengths_of_encode(kind, tmp_path):
  made = SPM
  if kind == "json":
    tiny_bpe.write_folder(tmp_path)
    made = tokenizer.load_tokenizer(tmp_path)
  texts = [
    "",
    " ",
    "café",
    prompts.build_full_text("a\n", "b", " c "),
    "x" * 999,
  ]
  want = [len(made.encode(text, bos=True, eos=True)) for text in texts]
  assert made.count(texts) == want


def test_a_selection_has_its_own_lengths():
  source = QuestionSource(*made_up_clips.make())
  lengths = np.arange(21, dtype=np.uint16) + 5
  found = text_lengths.TextLengths(source.index, lengths)
  part = source.select(tasks=["caption"], datasets=["other"])
  rows = [
    np.flatnonzero((source.index.clip == c) & (source.index.question == q))[0]
    for c, q in zip(part.index.clip, part.index.question, strict=True)
  ]
  assert found.of(part.index).tolist() == lengths[rows].tolist()


def test_a_folder_keeps_them_for_the_same_data_and_tokenizer(tmp_path):
  source = with_texts(tmp_path)
  load = lambda hash_, **kwargs: text_lengths.load_or_measure(
    source, SPM, hash_, tmp_path, **kwargs
  )
  with pytest.raises(text_lengths.LengthsError, match="process 0 wrote"):
    load("one", writes=False)
  want = load("one").lengths.tolist()
  assert want == true_lengths()
  file = tmp_path / text_lengths.FILE
  before = file.stat().st_mtime_ns
  for writes in (True, False):
    assert load("one", writes=writes).lengths.tolist() == want
  assert file.stat().st_mtime_ns == before
  with pytest.raises(text_lengths.LengthsError):
    load("two", writes=False)
  content = file.read_bytes()
  for damaged in (b"", b"no zip", content[: len(content) // 2]):
    file.write_bytes(damaged)
    assert load("one").lengths.tolist() == want


def test_texts_of_other_records_are_an_error(tmp_path):
  source = with_texts(tmp_path)
  question_texts.save(source.texts, [[["a", "", "b"]]] * 7)
  with pytest.raises(question_texts.TextsError, match=r"clip 2 .* question 1"):
    text_lengths.measure(source, SPM)
