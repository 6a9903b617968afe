"""The batch's layout: several questions a row, hidden audio, input checks."""

import functools

import jax
import numpy as np
import pytest

import golden_data
from ltu_jax.models.ltu import attention_mask
from ltu_jax.train_step import loss_sum


@functools.cache
def model():
  return golden_data.model("forward_a")


def row(tokens: list[int], segment: int = 1) -> dict[str, np.ndarray]:
  n = len(tokens)
  weights = np.ones(n, np.float32)
  weights[0] = 0
  return {
    "tokens": np.array(tokens, np.int32),
    "positions": np.arange(32, 32 + n, dtype=np.int32),
    "segment_ids": np.full(n, segment, np.int32),
    "loss_weights": weights,
  }


def stacked(rows: list[dict], width: int, fbank: np.ndarray) -> dict:
  pad = lambda x: np.pad(x, (0, width - len(x)))
  batch = {k: np.stack([pad(r[k]) for r in rows]) for k in rows[0]}
  return batch | {
    "fbank": np.repeat(fbank[None], len(rows), 0),
    "has_audio": np.ones(len(rows), bool),
  }


def test_two_questions_in_a_row_are_two_rows():
  """Loss of a row with n questions = sum over n rows with one each."""
  fbank = golden_data.load("forward_a")["input/audio_input"][0]
  a, b = [1, 17, 30, 99, 2], [1, 5, 200, 77, 42, 8, 2]
  apart = stacked([row(a), row(b)], 12, fbank)
  both = {k: np.concatenate([row(a)[k], row(b, segment=2)[k]]) for k in row(a)}
  together = stacked([both], 12, fbank)
  loss = jax.jit(loss_sum)
  want, got = loss(model(), apart), loss(model(), together)
  assert got[1] == want[1] == 10
  # float32: sums of 10 losses near 6.
  np.testing.assert_allclose(got[0], want[0], rtol=0, atol=1e-4)


def test_padding_changes_nothing():
  fbank = golden_data.load("forward_a")["input/audio_input"][0]
  loss = jax.jit(loss_sum)
  short = loss(model(), stacked([row([1, 17, 30, 2])], 4, fbank))
  long = loss(model(), stacked([row([1, 17, 30, 2])], 16, fbank))
  np.testing.assert_allclose(short, long, rtol=1e-5)  # another order of sums


def test_mask_by_hand():
  segments = np.array([[1, 1, 2, 0]])
  got = attention_mask(np.array([True]), segments, 2)[0]
  want = np.array(
    [
      [1, 0, 0, 0, 0, 0],
      [1, 1, 0, 0, 0, 0],
      [1, 1, 1, 0, 0, 0],
      [1, 1, 1, 1, 0, 0],
      [1, 1, 0, 0, 1, 0],
      [1, 1, 0, 0, 0, 0],
    ],
    bool,
  )
  np.testing.assert_array_equal(got, want)
  hidden = attention_mask(np.array([False]), segments, 2)[0]
  assert not hidden[:, :2].any() and (hidden[:, 2:] == want[:, 2:]).all()


def test_filter_banks_of_another_length_are_refused():
  with pytest.raises(ValueError, match=r"\(1, 512, 128\).*1024, 128"):
    model().encoder(np.zeros((1, 512, 128), np.float32))
