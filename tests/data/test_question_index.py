"""The table of all questions: making, joining, selecting, its file."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

import made_up_clips
from ltu_jax.data.question_index import (
  CLASSIFICATION,
  CLOSED_ENDED,
  OPEN_ENDED,
  QuestionIndex,
)

CLIPS = [
  [("caption", "b"), ("cla_label", "b")],
  [],
  [("caption", "a")],
  [("temporal_all", "c"), ("caption", "a"), ("cla_label", "c")],
]


def rows(index):
  return [
    (int(c), int(q), index.tasks[t], index.datasets[d])
    for c, q, t, d in zip(
      index.clip, index.question, index.task, index.dataset, strict=True
    )
  ]


def wanted(clips):
  return [
    (c, q, *kind)
    for c, questions in enumerate(clips)
    for q, kind in enumerate(questions)
  ]


def test_make_lists_every_question_of_every_clip():
  index = QuestionIndex.make(CLIPS)
  assert rows(index) == wanted(CLIPS)
  assert index.tasks == ("caption", "cla_label", "temporal_all")
  assert index.datasets == ("a", "b", "c")
  types = [getattr(index, k).dtype for k in ("clip", "question", "task")]
  assert types == [np.int32, np.int16, np.uint8]


@pytest.mark.parametrize("cut", range(5))
def test_parts_join_to_the_whole(cut):
  # Parts have other lists of names than the whole.
  parts = [CLIPS[:cut], CLIPS[cut:]]
  joined = QuestionIndex.join(
    [QuestionIndex.make(part) for part in parts], [len(p) for p in parts]
  )
  whole = QuestionIndex.make(CLIPS)
  assert rows(joined) == wanted(CLIPS)
  assert (joined.tasks, joined.datasets) == (whole.tasks, whole.datasets)
  for name in ("clip", "question", "task", "dataset"):
    assert getattr(joined, name).dtype == getattr(whole, name).dtype


def test_no_clips_make_an_empty_table():
  for index in (QuestionIndex.make([]), QuestionIndex.join([], [])):
    assert rows(index) == []


def test_what_the_small_types_cannot_hold_is_an_error():
  with pytest.raises(ValueError, match="at most 256 data sets, not 257"):
    QuestionIndex.make([[("t", f"d{i}") for i in range(257)]])
  with pytest.raises(ValueError, match="32768 questions of one clip"):
    QuestionIndex.make([[("t", "d")] * 32769])


def test_a_long_name_takes_its_memory_once():
  clips = [[("t" * 100_000, "d"), ("u", "d")]] * 1000
  tracemalloc.start()
  index = QuestionIndex.make(clips)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert index.tasks == ("t" * 100_000, "u")
  # An array of all names would take 800 MB.
  assert peak < 2e6


def test_an_index_round_trips_through_its_file(tmp_path):
  _, index = made_up_clips.make()
  index.save(tmp_path / "i.npz")
  got = QuestionIndex.load(tmp_path / "i.npz")
  assert (got.tasks, got.datasets) == (index.tasks, index.datasets)
  for name in ("clip", "question", "task", "dataset"):
    want = getattr(index, name)
    np.testing.assert_array_equal(getattr(got, name), want)
    assert getattr(got, name).dtype == want.dtype


def test_a_missing_index_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="no question index; prepare"):
    QuestionIndex.load(tmp_path / "question_index-train.npz")


def test_arrays_of_different_lengths_are_an_error():
  _, index = made_up_clips.make()
  with pytest.raises(ValueError, match=r"one shape \[Q\]"):
    dataclasses.replace(index, task=index.task[1:])


def test_named_selections_are_disjoint_and_nested():
  assert set(CLASSIFICATION) < set(CLOSED_ENDED)
  assert not set(CLOSED_ENDED) & set(OPEN_ENDED)
