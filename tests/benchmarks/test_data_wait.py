"""The played device; how fast this machine is, is no test's business."""

import numpy as np
import pytest

from benchmarks import data_wait


def batches(questions=(3, 2)):
  segments = np.zeros((2, 8), np.int32)
  for row, count in enumerate(questions):
    segments[row, :count] = np.arange(1, count + 1)
  while True:
    yield {"segment_ids": segments}


def test_questions_of_all_rows_are_counted():
  assert data_wait.count_questions(next(batches())) == 5


def test_the_device_takes_one_step_after_the_other(monkeypatch):
  now = [10.0]
  monkeypatch.setattr(data_wait.time, "monotonic", lambda: now[0])
  device = data_wait.Device()
  assert device.is_ready()
  assert device.give(2.0) == 10.0  # nothing before it
  assert not device.is_ready()
  now[0] = 11.0
  assert device.give(2.0) == 12.0  # when the first is done
  now[0] = 13.9
  assert not device.is_ready()
  now[0] = 14.0
  assert device.is_ready()
  now[0] = 20.0
  assert device.give(1.0) == 20.0  # it stood still from 14 on


def test_steps_are_counted_and_never_faster_than_the_device():
  found = data_wait.play(batches(), 1000, 0.2)
  assert 0 <= found.wait <= 1 and found.cores > 0
  assert 0 < found.reached <= 1000 * (1 + 1e-9)  # rounding of times
  assert found.line().startswith("| 1000 | ")


@pytest.mark.parametrize(
  "arguments, rows", [([], 108), (["--row_tokens=432"], 432)]
)
def test_the_config_is_the_published_one_with_the_arguments(arguments, rows):
  args = data_wait.parser().parse_args(arguments)
  data = data_wait.configured(args).data
  assert data.batch_size == 64 and (data.row_tokens or data.max_tokens) == rows
