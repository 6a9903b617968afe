"""Scenes: same bytes for the same seed, and events where they are said to be.

Letters: S samples of a scene.
"""

import collections
import itertools

import numpy as np
import pytest

import made_up_sounds
from tfds_builders.openaqa import scenes

_TENTH = 1600


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
  return made_up_sounds.bank(tmp_path_factory.mktemp("scenes"))


def _level(pcm, start, end):
  """RMS in dB of full scale between two times in seconds."""
  part = pcm[round(start * 16000) : round(end * 16000)] / 32768
  return 20 * np.log10(np.sqrt(np.mean(part**2)) + 1e-9)


def test_same_numbers_give_same_bytes_in_any_order(bank):
  forward = [scenes.make(bank, "train", i, 0) for i in range(6)]
  for i in reversed(range(6)):
    pcm, placed = scenes.make(bank, "train", i, 0)
    np.testing.assert_array_equal(pcm, forward[i][0])
    assert placed == forward[i][1]


def test_seed_and_split_change_the_scene(bank):
  pcm, _ = scenes.make(bank, "train", 1, 0)
  assert np.any(pcm != scenes.make(bank, "train", 1, 1)[0])
  assert np.any(pcm != scenes.make(bank, "test", 1, 0)[0])


def test_form_of_every_scene(bank):
  counts = collections.Counter()
  for number in range(100):
    pcm, placed = scenes.make(bank, "train", number, 0)
    assert pcm.dtype == np.int16
    assert pcm.shape == (160000,)
    # Nothing is clipped: events are limited so that two stay below.
    assert np.abs(pcm.astype(int)).max() < 32767
    labels = [event.label for event in placed]
    assert len(set(labels)) == len(labels)
    counts[len(placed)] += 1
    for event in placed:
      assert 0 <= event.onset < event.offset <= 10
      for time in (event.onset, event.offset):
        assert time == round(time, 1)
    for before, event in itertools.pairwise(placed):
      # To one decimal; a float of 0.5 may come out a hair below.
      assert event.onset - before.onset >= 0.5 - 1e-9
  # 9, 5, 4 and 2 of every twenty.
  assert counts == {1: 45, 2: 25, 3: 20, 4: 10}


def test_sound_is_where_the_truth_says(bank):
  """The test split plays even tones, so levels are known at every time."""
  for number in range(60):
    pcm, placed = scenes.make(bank, "test", number, 0)
    inside = np.zeros(100, bool)
    for event in placed:
      # A short tone repeats with gaps, so judge the first and last tenth: a
      # tone of 0.4 s fills the first, and zeros pad less than the last.
      first = _level(pcm, event.onset, event.onset + 0.1)
      last = _level(pcm, event.offset - 0.1, event.offset)
      inside[round(event.onset * 10) : round(event.offset * 10)] = True
      # Gaps lower the RMS of the whole below that of the tone.
      assert first > event.level - 1
      # The last tenth may hold 10 ms of tone only: 10 dB, and 50 ms of fade.
      assert last > event.level - 15
    quiet = min(event.level for event in placed)
    for tenth in np.flatnonzero(~inside):
      # The background is 30 to 40 dB below the quietest event on average; a
      # tenth of a second of brown noise strays some 10 dB from its average.
      assert _level(pcm, tenth / 10, tenth / 10 + 0.1) < quiet - 15


def test_level_is_that_of_the_event(bank):
  for number in range(0, 60, 2):
    pcm, placed = scenes.make(bank, "test", number, 0)
    if len(placed) == 1:
      (event,) = placed
      # The noise is 30 dB below: it adds 0.005 dB, and chance does as much.
      measured = _level(pcm, event.onset, event.offset)
      assert measured == pytest.approx(event.level, abs=0.05)


@pytest.mark.parametrize("split", ["train", "test"])
def test_recordings_stay_in_their_split(bank, split):
  own = {(r.label, r.name) for r in bank.recordings if r.split == split}
  heard = set()
  for number in range(60):
    _, placed = scenes.make(bank, split, number, 0)
    heard |= {(event.label, event.recording) for event in placed}
  assert heard == own


def test_every_recording_is_heard_alone(bank):
  heard = collections.Counter()
  for number in range(100):
    _, placed = scenes.make(bank, "test", number, 0)
    if len(placed) == 1:
      heard[placed[0].label, placed[0].recording] += 1
  # 50 single events over 4 classes of one test recording each.
  assert sorted(heard.values()) == [12, 12, 13, 13]


def test_training_varies_speed(bank):
  """The pitch of a tone is that of its recording, up to 10 % off."""
  ratios = []
  for number in range(100):
    pcm, placed = scenes.make(bank, "train", number, 0)
    if len(placed) == 1 and placed[0].label == "Whistle":
      power = np.abs(np.fft.rfft(pcm)) ** 2
      hertz = np.argmax(power) / 10
      step = int(placed[0].recording[4])
      ratios.append(hertz / (3000 * (1 + 0.05 * step)))
  # exp(0.1) = 1.105; 0.1 Hz steps of the spectrum are negligible.
  assert 1 / 1.106 < min(ratios) < 0.97
  assert 1.03 < max(ratios) < 1.106


def test_trim_cuts_silence_only():
  tone = (made_up_sounds.tone(500, 0.5) * 32768).astype(np.int16)
  pcm = np.concatenate([np.zeros(3200, np.int16), tone, np.zeros(4800, "i2")])
  np.testing.assert_array_equal(scenes.trim(pcm), tone / np.float32(32768))
