"""Which items and which numbers by class are shown, with what sound."""

import base64
import dataclasses
import io

import numpy as np
import pytest
import soundfile
from matplotlib import image

import made_up_results
from ltu_jax.evaluate.page import chosen, media, per_class
from ltu_jax.evaluate.page.folders import Run
from ltu_jax.evaluate.result import Classes, Metric
from wav_bytes import wav


def scored(values, **more):
  """A result of items with these scores."""
  items = [
    made_up_results.item(i, ("a",), ("b",), score={"published": value})
    for i, value in enumerate(values)
  ]
  metric = Metric("accuracy", 0.5, "published", headline=True)
  made = made_up_results.base("s", "S", "classification", metrics=[metric])
  return Run(dataclasses.replace(made, **more), items)


def ids(items):
  return [int(x.id.removeprefix("clip-")) for x in items]


def test_the_ends_are_the_worst_and_the_best():
  found = chosen.choose(scored([0.5] * 20 + [0.1, 0.9, 0.2, 0.8, 0.3, 0.7]))
  assert ids(found.worst)[:3] == [20, 22, 24]
  assert ids(found.best)[:3] == [21, 23, 25]
  assert len(found.worst) == len(found.best) == 5
  assert found.captions == [] and found.errors == [] and found.groups == []


@pytest.mark.parametrize("number", [0, 1, 2, 3, 9, 10, 11])
def test_no_item_is_at_both_ends(number):
  found = chosen.choose(scored([1.0] * number))
  both = ids(found.worst) + ids(found.best)
  assert len(set(both)) == len(both) == min(number, 10)


def test_the_same_clips_are_shown_of_each_checkpoint():
  first, second = chosen.choose(scored([1.0] * 50)), scored([1.0] * 50)
  second.items.reverse()
  assert ids(chosen.choose(second).worst) == ids(first.worst)
  assert ids(first.worst) != sorted(ids(first.worst))


def test_errors_are_counted_by_what_they_say():
  run = scored([0.5] * 8)
  for i in (1, 2, 3, 5):
    why = "damaged" if i < 5 else "too short"
    run.items[i] = dataclasses.replace(
      run.items[i], error=f"{run.items[i].audio}: {why}", score={}
    )
  found = chosen.choose(run)
  assert found.errors == [
    ("damaged", "3", "clip-1, clip-2, clip-3"),
    ("too short", "1", "clip-5"),
  ]
  assert set(ids(found.worst) + ids(found.best)) == {0, 4, 6, 7}


def test_groups_have_their_mean():
  run = scored([0.0, 1.0, 1.0, 1.0])
  groups = ("x", "x", "", "y")
  for i, group in enumerate(groups):
    run.items[i] = dataclasses.replace(run.items[i], group=group)
  assert chosen.choose(run).groups == [
    ("no group", "1", "100.0"),
    ("x", "2", "50.0"),
    ("y", "1", "100.0"),
  ]


def test_captions_are_other_items_than_the_ends():
  made, items = made_up_results.captions("clotho", "Clotho", "m", 0, 0.1)
  found = chosen.choose(Run(made, items))
  assert len(found.captions) == 8
  ends = ids(found.worst) + ids(found.best)
  assert not set(ids(found.captions)) & set(ends)
  # Its score is named by the metric, as there is one protocol.
  assert found.worst[0].score["SPICE"] == min(x.score["SPICE"] for x in items)


def test_bars_are_sorted_and_classes_without_items_named():
  classes = Classes(
    ("a", "b", "c", "d"), (3, 1, 0, 9), {"p": (0.25, 1.0, None, 0.5)}, {}
  )
  (chart,) = per_class.charts(classes, None)
  ((_, bars),) = chart.columns
  assert [(x.label, x.count, x.value, x.share) for x in bars] == [
    ("b", "1", "100.0", "100.00"),
    ("d", "9", "50.0", "50.00"),
    ("a", "3", "25.0", "25.00"),
  ]
  assert chart.none == ["c"] and chart.curve == ""


@pytest.mark.parametrize(
  "number, columns, has_curve",
  [
    (20, [20], False),
    (21, [11, 10], False),
    (60, [30, 30], False),
    (61, [15, 15], True),
    (527, [15, 15], True),
  ],
)
def test_many_classes_are_shown_by_their_ends(number, columns, has_curve):
  values = np.random.default_rng(0).permutation(number) / (number - 1)
  labels = [str(x) for x in range(number)]
  classes = Classes(labels, [1] * number, {"": values.tolist()}, {})
  (chart,) = per_class.charts(classes, None)
  assert [len(bars) for _, bars in chart.columns] == columns
  assert chart.columns[0][1][0].value == "100.0"
  assert chart.columns[-1][1][-1].value == "0.0"
  assert len(chart.all) == (number if has_curve else 0)
  if has_curve:
    points = [p.split(",") for p in chart.curve.split()]
    across, down = np.array(points, float).T
    np.testing.assert_allclose(across, np.linspace(0, 100, number), atol=0.005)
    # From the top, where 0 is, in hundredths.
    np.testing.assert_allclose(down, across, atol=0.011)


def test_confusions_give_shares_and_the_headlines_protocol_first():
  matrix = ((3, 1, 0), (0, 0, 2), (0, 0, 0))
  classes = Classes("abc", (4, 2, 0), {}, {"x": matrix, "y": matrix})
  headline = Metric("accuracy", 0.5, "y", headline=True)
  first, second = per_class.charts(classes, headline)
  assert first.title.endswith("class, y") and second.title.endswith("class, x")
  assert [x.value for x in first.columns[0][1]] == ["75.0", "0.0"]
  assert first.none == ["c"]
  first, _ = per_class.confusions(classes, headline)
  assert first.protocol == "y" and not first.fine
  assert [x[:2] for x in first.rows[0].cells] == [("3", 7), ("1", 3), ("", 0)]
  assert first.rows[1].cells[2] == ("2", 9, "b taken for c: 2 of 2")
  assert first.pairs == [("b", "c", "2", "2"), ("a", "b", "1", "4")]


def test_a_matrix_that_cannot_be_read_becomes_pairs():
  matrix = np.eye(51, dtype=int).tolist()
  matrix[7][9] = 5
  labels = [str(x) for x in range(51)]
  (found,) = per_class.confusions(
    Classes(labels, [1] * 51, {}, {"": matrix}), None
  )
  assert found.rows == [] and found.pairs == [("7", "9", "5", "6")]


def test_a_column_more_is_for_none_of_the_classes():
  matrix = [[1, 0, 2], [0, 1, 0]]
  (found,) = per_class.confusions(Classes("ab", (3, 1), {}, {"": matrix}), None)
  assert found.said == ["a", "b", "none of them"]
  assert found.pairs == [("a", "none of them", "2", "3")]


def wanted(count, **more):
  return [
    ("esc50", made_up_results.item(i, ("a",), ("b",), **more))
    for i in range(count)
  ]


def decoded(uri, kind):
  head, data = uri.split(",")
  assert head == f"data:{kind};base64"
  return io.BytesIO(base64.b64decode(data, validate=True))


def test_a_sound_is_what_the_model_heard():
  items = wanted(1)
  found = media.collect(items, 10**6, lambda item: wav(12, rate=44100))
  (clip,) = found.clips.values()
  sound, rate = soundfile.read(decoded(clip.audio, "audio/mpeg"))
  # MP3 has whole frames of 36 ms, and a delay of up to two.
  assert rate == 16000 and len(sound) / rate == pytest.approx(10.255, abs=0.1)
  picture = image.imread(decoded(clip.picture, "image/jpeg"), format="jpeg")
  assert picture.shape == (128, 512, 3)
  assert clip.seconds == "10.3"
  assert "resampled from 44100 Hz" in clip.notes
  assert "only the first 10.24 s of 12.0 s are heard" in clip.notes


@pytest.mark.parametrize("seconds, level", [(0.025, 0.3), (0.5, 0), (10, 1)])
def test_any_sound_can_be_shown(seconds, level):
  found = media.collect(
    wanted(1), 10**6, lambda item: wav(seconds, level=level)
  )
  (clip,) = found.clips.values()
  assert len(clip.audio) + len(clip.picture) < 150_000
  assert soundfile.info(decoded(clip.audio, "audio/mpeg")).frames > 0


def test_why_there_is_no_sound_is_said(tmp_path):
  there, broken = tmp_path / "there.wav", tmp_path / "broken.wav"
  there.write_bytes(wav(0.5))
  broken.write_text("this is no sound")
  paths = (None, str(tmp_path / "gone.wav"), str(broken), str(there))
  items = [
    ("s", made_up_results.item(i, (), (), path=path))
    for i, path in enumerate(paths)
  ]
  found = media.collect(items, 10**6, None)
  assert list(found.clips) == [("s", "clip-3")]
  reasons = list(found.reasons.values())
  assert "in no file of its own" in reasons[0]
  assert "no longer where it was" in reasons[1]
  assert "clip 2.wav: cannot be decoded" in reasons[2]
  # Only what is in no file is asked for, and may be nothing.
  given = {"clip-0": wav(0.5), "clip-3": b"another"}
  found = media.collect(items, 10**6, lambda item: given.get(item.id))
  assert [key[1] for key in found.clips] == ["clip-0", "clip-3"]
  assert list(found.reasons.values()) == reasons[1:]


def test_sounds_stop_where_the_page_is_full():
  load = lambda item: wav(1)
  (clip,) = media.collect(wanted(1), 10**6, load).clips.values()
  size = len(clip.audio) + len(clip.picture) + 1000
  found = media.collect(wanted(5), 3 * size + size // 2, load)
  assert [key[1] for key in found.clips] == ["clip-0", "clip-1", "clip-2"]
  assert found.left_out == 2
  assert "room" in found.reasons["esc50", "clip-4"]
  # An item that several checkpoints want is there once.
  assert len(media.collect(wanted(1) * 3, 10**6, load).clips) == 1
