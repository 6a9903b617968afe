"""Windows cover a sound; merged parts follow one another."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltu_jax.answers.windows import (
  WINDOW_SAMPLES,
  WINDOW_SECONDS,
  Span,
  cut,
  merge,
  timeline,
)
from ltu_jax.audio.decode import CLIP_SAMPLES


def test_a_window_is_1024_steps_of_10_ms():
  assert WINDOW_SECONDS * 16000 == WINDOW_SAMPLES == 1024 * 160


def test_what_is_heard_whole_is_one_window():
  for num in (1, WINDOW_SAMPLES, CLIP_SAMPLES):
    assert cut(num) == [(0, num)]
  assert cut(CLIP_SAMPLES + 1) == [(0, 163840), (241, 164081)]


def test_thirty_seconds():
  starts = [start / 16000 for start, _ in cut(480_000, 2.0)]
  assert starts == [0, 8.24, 16.48, 19.76]
  assert [s for s, _ in cut(3 * WINDOW_SAMPLES, 0)] == [0, 163840, 327680]


@given(st.integers(1, 3_000_000), st.floats(0, 10))
def test_windows_cover_the_sound_and_overlap_as_asked(num, overlap):
  windows = cut(num, overlap)
  assert windows[0][0] == 0 and windows[-1][1] == num
  for (start, end), (later, last) in itertools.pairwise(windows):
    assert end - start == last - later == WINDOW_SAMPLES
    assert start < later <= end - round(overlap * 16000)


@pytest.mark.parametrize("overlap", [-1, 10.1, float("nan")])
def test_an_overlap_out_of_range(overlap):
  with pytest.raises(ValueError, match="overlap is"):
    cut(10, overlap)


def test_neighbours_with_one_answer_are_joined():
  spans = [
    Span(0, 10.24, "A dog barks."),
    Span(8.24, 18.48, "a dog  barks"),
    Span(16.48, 26.72, "Rain"),
    Span(19.76, 30, "A dog barks."),
  ]
  assert timeline(merge(spans)) == (
    "0.0-18.5 s: A dog barks.\n18.5-26.7 s: Rain\n26.7-30.0 s: A dog barks."
  )
  assert merge([]) == []


@given(st.integers(1, 700_000), st.text("ab", min_size=6))
def test_parts_follow_one_another(num, answers):
  windows = cut(num)
  parts = merge(
    [Span(*window, a) for window, a in zip(windows, answers, strict=False)]
  )
  assert parts[0].start == 0 and parts[-1].end == num
  for part, later in itertools.pairwise(parts):
    assert part.start < part.end == later.start
    assert part.answer != later.answer
