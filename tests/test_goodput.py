"""Goodput, of runs of which every second is known."""

import json

import matplotlib.image
import numpy as np
import pytest

from ltu_jax import goodput, goodput_plot, times
from ltu_jax.times import Times


class Clock:
  """Unix time that a story moves on."""

  def __init__(self):
    self.now = 1_700_000_000.0

  def __call__(self):
    return self.now


def steps(clock, of, numbers, seconds=10, data=0):
  """So many steps, each with a wait for its batch."""
  for number in numbers:
    with of.spent("steps"):
      with of.spent("data"):
        clock.now += data
      clock.now += seconds
      of.at(number)


@pytest.fixture
def clock():
  return Clock()


@pytest.fixture
def story(tmp_path, clock):
  """A run that is killed, goes on from a checkpoint, and is killed again."""
  (tmp_path / "config.json").write_text("{}")
  first = Times(clock)
  clock.now += 20  # checks, data
  first.open(tmp_path)
  first.begin(1)
  clock.now += 5  # restoring
  first.at(0, now=True)
  with first.spent("compile"):
    clock.now += 30
  steps(clock, first, range(1, 5), data=1)
  first.at(4, now=True)
  with first.spent("save"):
    clock.now += 3
  steps(clock, first, range(5, 8))  # lost
  clock.now += 4  # of step 8; killed, and so never written
  clock.now += 100
  second = Times(clock)
  second.open(tmp_path)
  clock.now += 15
  second.begin(1)
  second.at(4, now=True)
  steps(clock, second, range(5, 11), seconds=8)
  with second.spent("save"):
    clock.now += 2
  with second.spent("evaluate"):
    clock.now += 50
  second.begin(2)
  second.at(0, now=True)
  steps(clock, second, range(1, 3), seconds=2)
  second.close()
  return tmp_path


def test_every_second_is_where_it_went(story, clock):
  found = goodput.read(story)
  assert found.starts == 2
  assert found.wall == pytest.approx(clock.now - 1_700_000_000)
  none, one, two = (dict(+found.total(stage)) for stage in (None, 1, 2))
  # Times are written to a ten-thousandth of a second.
  near = lambda want: pytest.approx(want, abs=1e-3)
  assert none == near({"startup": 20 + 15})
  assert one == near(
    {
      "steps": 4 * 10 + 6 * 8,
      "redone": 3 * 10,
      "data": 4,
      "compile": 30,
      "startup": 5,
      "save": 3 + 2,
      "evaluate": 50,
      "down": 4 + 100,
    }
  )
  assert two == near({"steps": 4})
  assert sum(found.total().values()) == near(found.wall)
  assert found.share == pytest.approx(92 / found.wall, abs=1e-4)


def test_a_line_may_reach_over_the_checkpoint(tmp_path, clock):
  """Three of ten steps of one line are made again."""
  (tmp_path / "config.json").write_text("{}")
  for first, last in ((0, 10), (7, 8)):
    of = Times(clock)
    of.open(tmp_path)
    of.begin(3)
    of.at(first, now=True)
    with of.spent("steps"):
      clock.now += 100
      of.at(last, now=True)
    of.close()
    clock.now += 1
  total = goodput.read(tmp_path).total()
  assert total["redone"] == pytest.approx(30, abs=1e-3)
  assert total["steps"] == pytest.approx(70 + 100, abs=1e-3)


def test_a_line_every_few_seconds(tmp_path, clock):
  of = Times(clock)
  of.open(tmp_path)
  of.begin(1)
  steps(clock, of, range(1, 1001), seconds=0.01)
  of.close()
  (file,) = (tmp_path / times.FOLDER).iterdir()
  assert len(file.read_text().splitlines()) <= 2 + 10 / times.LINE_SECONDS + 1


def test_time_may_be_moved(tmp_path, clock):
  """A wait while the devices work is none."""
  (tmp_path / "config.json").write_text("{}")
  of = Times(clock)
  of.open(tmp_path)
  with of.spent("steps"):
    with of.spent("data"):
      clock.now += 10
    of.move(7, "data")
  of.close()
  total = goodput.read(tmp_path).total()
  assert (total["steps"], total["data"]) == (7, 3)


def test_a_full_disk_ends_no_run(tmp_path, clock):
  of = Times(clock)
  of.open(tmp_path / "gone" / "away")
  of.begin(1)
  of.close()
  assert list(tmp_path.iterdir()) == []


def test_command(story, capsys):
  assert goodput.main([str(story), f"--plot={story / 'a.png'}"]) == 0
  out = capsys.readouterr().out
  assert out.startswith("goodput 25.9 %: steps that count took 1m32s of 5m55s")
  assert "2 starts" in out and "| stage 2 " in out and "profile" not in out
  assert matplotlib.image.imread(story / "a.png").shape[2] == 4
  assert goodput.main([str(story), "--json"]) == 0
  found = json.loads(capsys.readouterr().out)
  assert found["seconds"]["down"] == pytest.approx(104, abs=1e-3)
  parts = [sum(x["seconds"].values()) for x in found["stages"]]
  assert sum(parts) == pytest.approx(found["wall_seconds"], abs=1e-2)


def test_bars_fill_the_time(story):
  found = goodput.read(story)
  edges, shares = goodput_plot.bars(found, 7)
  assert edges[-1] == found.wall
  np.testing.assert_allclose(shares.sum(0), 1)
  seconds = dict(zip(goodput.NAMES, shares @ np.diff(edges), strict=True))
  # Each bar is as long as what is in it.
  assert seconds == pytest.approx(
    {kind: found.total()[kind] for kind in goodput.NAMES}, abs=1e-2
  )


def test_what_cannot_be_read_is_told_in_a_line(story, tmp_path, capsys):
  def told(folder):
    assert goodput.main([str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line

  assert "no run was started in this folder" in told(tmp_path / "none")
  old = tmp_path / "old"
  old.mkdir()
  (old / "config.json").write_text("{}")
  assert "kept no times, as it was made by an older version" in told(old)
  file = sorted((story / times.FOLDER).iterdir())[0]
  whole = file.read_text()
  # A killed run's last line is torn.
  file.write_text(whole + whole[:20])
  goodput.read(story)
  only = old / times.FOLDER / file.name
  only.parent.mkdir()
  only.write_text(whole.splitlines(keepends=True)[0])
  assert "this run has just started" in told(old)
  line = '{"time": %s, "stage": 1, "step": 1, "seconds": %s}\n'
  wrong = [line % (1, "[]"), line % ("NaN", "{}"), line % (1, '{"fun": 1}')]
  for bad in ("[]\n", '{"time": 1}\n', "x\n", "3\n", *wrong):
    file.write_text(whole + bad)
    number = whole.count("\n") + 1
    assert f"line {number} is no line of times" in told(story)
