"""Metrics: both files, no duplicate after a resume, lines as shown."""

import io
import json
import os
import pathlib
import resource
import subprocess
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from ltu_jax import metrics


def lines(workdir):
  text = (workdir / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def scalars(monkeypatch):
  """Reads a TensorBoard folder as the TensorBoard server does.

  The module "notf" makes TensorBoard use its own stub of TensorFlow's files.
  """
  monkeypatch.setitem(
    sys.modules, "tensorboard.compat.notf", types.ModuleType("notf")
  )
  from tensorboard.backend.event_processing import event_accumulator

  def read(folder, tag):
    reader = event_accumulator.EventAccumulator(str(folder))
    reader.Reload()
    return [(e.step, e.value) for e in reader.Scalars(tag)]

  return read


def run(workdir, resume, steps):
  """Writes loss = 100 * stage + step for (stage, step)."""
  stage, done = resume
  with metrics.Metrics(workdir) as writer:
    for number, step in steps:
      if number >= stage:
        writer.begin(number, done if number == stage else 0)
        stage = number + 1
      writer.write(number, step, {"loss": 100 * number + step})


def places(workdir):
  return [(x["stage"], x["step"]) for x in lines(workdir)]


def test_both_files(tmp_path, scalars):
  with metrics.Metrics(tmp_path) as writer:
    values = {
      "loss": jnp.float32(1.5),
      "lr": np.float64(1e-4),
      "grad_norm": float("nan"),
      "questions": 7,
    }
    writer.write(1, 10, values)
    # On disk without close: a run may be killed at any time.
    assert lines(tmp_path) == [
      {
        "stage": 1,
        "step": 10,
        "loss": 1.5,
        "lr": 1e-4,
        "grad_norm": None,
        "questions": 7,
      }
    ]
  assert scalars(tmp_path / "tensorboard" / "stage1", "loss") == [(10, 1.5)]
  assert np.isnan(scalars(tmp_path / "tensorboard/stage1", "grad_norm")[0][1])


def test_resume_in_the_middle_of_a_stage(tmp_path, scalars):
  run(tmp_path, (0, 0), [(1, 10), (1, 20), (2, 10), (2, 20), (2, 30)])
  run(tmp_path, (2, 20), [(2, 30), (2, 40), (3, 10)])
  got = [(line["stage"], line["step"]) for line in lines(tmp_path)]
  assert got == [
    (1, 10),
    (1, 20),
    (2, 10),
    (2, 20),
    (2, 30),
    (2, 40),
    (3, 10),
  ]
  board = tmp_path / "tensorboard"
  assert [s for s, _ in scalars(board / "stage1", "loss")] == [10, 20]
  assert [s for s, _ in scalars(board / "stage2", "loss")] == [10, 20, 30, 40]
  assert [s for s, _ in scalars(board / "stage3", "loss")] == [10]


def test_an_earlier_stage_gone_on_with_keeps_the_later(tmp_path):
  """Its last checkpoint was damaged; the later stages are whole."""
  run(tmp_path, (0, 0), [(1, 10), (1, 20), (2, 10), (2, 20)])
  whole = (tmp_path / "metrics.jsonl").read_bytes()
  with metrics.Metrics(tmp_path) as writer:
    writer.begin(1, 10)
    assert places(tmp_path) == [(1, 10), (2, 10), (2, 20)]
    writer.write(1, 20, {"loss": 120})
  assert (tmp_path / "metrics.jsonl").read_bytes() == whole


def test_a_full_disk_loses_no_line(tmp_path):
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  with metrics.Metrics(tmp_path) as writer:
    writer.begin(1, 0)
    for step in range(1, 4):
      writer.write(1, step, {"loss": step})
    size = (tmp_path / "metrics.jsonl").stat().st_size
    try:
      # The next line fits in part.
      resource.setrlimit(resource.RLIMIT_FSIZE, (size + 9, limits[1]))
      for step in range(4, 7):
        writer.write(1, step, {"loss": step})
      assert "metrics.jsonl: File too large" in writer.flush()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert writer.flush() == ""
    assert places(tmp_path) == [(1, step) for step in range(1, 7)]
    writer.write(1, 7, {"loss": 7})
  assert places(tmp_path) == [(1, step) for step in range(1, 8)]


def test_a_torn_last_line_is_dropped(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"stage": 1, "step": 10, "loss": 2}\n{"stage": 1, "st')
  run(tmp_path, (1, 15), [(1, 20)])
  assert [x["step"] for x in lines(tmp_path)] == [10, 20]


@pytest.mark.parametrize(
  "text",
  [
    *("hello\n", '{"step": 1}\n', "[1, 2]\n", "[" * 100_000 + "\n"),
    *('{"stage": "1", "step": 2}\n', "\xff\n"),
  ],
)
def test_a_foreign_file_is_left_alone(tmp_path, text):
  path = tmp_path / "metrics.jsonl"
  path.write_text(text)
  with pytest.raises(metrics.MetricsError, match=r"line 1 is no metrics line"):
    metrics.Metrics(tmp_path)
  assert path.read_text() == text


def test_other_processes_write_nothing(tmp_path):
  stream = io.StringIO()
  with metrics.Metrics(tmp_path, enabled=False, stream=stream) as writer:
    writer.write(1, 1, {"loss": 1.0})
    writer.progress(1, 1, 2, {})
  assert list(tmp_path.iterdir()) == []
  assert stream.getvalue() == ""


@pytest.mark.parametrize("value", ["high", None, [1.0]])
def test_a_metric_that_is_no_number(tmp_path, value):
  with (
    metrics.Metrics(tmp_path) as writer,
    pytest.raises(metrics.MetricsError, match="metric 'loss' is"),
  ):
    writer.write(1, 1, {"loss": value})
  assert lines(tmp_path) == []


def test_tensorflow_is_not_imported(tmp_path):
  code = (
    "import sys; from ltu_jax import metrics\n"
    "metrics.Metrics(sys.argv[1]).write(1, 1, {'loss': 1.0})\n"
    "assert not {'tensorflow', 'jax'} & sys.modules.keys()"
  )
  root = pathlib.Path(metrics.__file__).parents[1]
  subprocess.run(
    [sys.executable, "-c", code, str(tmp_path)],
    env={**os.environ, "PYTHONPATH": str(root)},
    check=True,
  )


def test_progress_line(tmp_path):
  stream = io.StringIO()
  values = {
    "loss": 2.34512,
    "lr": 1e-4,
    "grad_norm": 3.0,
    "questions_per_second": 309.7,
    "data_wait": 0.012,
    "seconds_per_step": 1 / 6,
    "mfu": 0.412,
    "memory_gib": 13.06,
  }
  with metrics.Metrics(tmp_path, stream=stream) as writer:
    writer.progress(2, 120, 600, values)
  assert stream.getvalue() == (
    "stage 2  step 120/600  loss 2.345  lr 1.0e-04  310 q/s  data 1%  "
    "mfu 41%  13.1 GiB  eta 1m20s\n"
  )
  assert metrics.progress_line(1, 3, 4, {}) == "stage 1  step 3/4"


@pytest.mark.parametrize(
  "seconds, text",
  [
    (0.4, "0s"),
    (59.6, "1m00s"),
    (3599, "59m59s"),
    (7500, "2h05m"),
    (273_600, "3d04h"),
  ],
)
def test_duration(seconds, text):
  assert metrics.duration(seconds) == text
