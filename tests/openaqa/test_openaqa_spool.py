"""Questions on disk between the passes: all come back, sorted by clip."""

from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

import made_up_openaqa
from tfds_builders.openaqa.full import spool
from tfds_builders.openaqa.full.entries import Entry


def row(number, clip):
  entry = Entry(**made_up_openaqa.question(clip, number))
  return spool.Row(number, clip, f"/audio/{clip}.wav", entry)


def write(folder, rows, flush_every=None):
  writer = spool.Writer(epath.Path(folder))
  for i, one in enumerate(rows):
    writer.add(one)
    if flush_every and i % flush_every == 0:
      writer.flush()
  writer.flush()


def test_every_question_is_in_one_shard_in_the_same_order(tmp_path):
  rows = [row(i, f"clip {i % 130}") for i in range(400)]
  write(tmp_path / "s", rows, flush_every=90)
  whole = list(spool.read_shard(epath.Path(tmp_path / "s"), 0, 1))
  # Clips by their place, questions of a clip by their number.
  places = [(clip[0].place, clip[0].clip_id) for clip in whole]
  assert places == sorted(places)
  assert len(set(places)) == len(whole) == 130
  for clip in whole:
    assert {r.clip_id for r in clip} == {clip[0].clip_id}
    assert [r.number for r in clip] == sorted(r.number for r in clip)
  assert sorted((r for c in whole for r in c), key=lambda r: r.number) == rows
  for num_shards in (2, 3, 7, 256, 300, 1000):
    shards = [
      clip
      for s in range(num_shards)
      for clip in spool.read_shard(epath.Path(tmp_path / "s"), s, num_shards)
    ]
    assert shards == whole


@settings(deadline=None, max_examples=25)
@given(
  names=st.lists(st.text(min_size=1), min_size=1, max_size=40),
  num_shards=st.integers(1, 600),
)
def test_any_name_comes_back(tmp_path_factory, names, num_shards):
  # Names and texts of any characters that JSON carries, line breaks too.
  rows = [
    row(i, name)
    for i, name in enumerate(names)
    if not any("\ud800" <= c <= "\udfff" for c in name)
  ]
  folder = tmp_path_factory.mktemp("spool") / "s"
  write(folder, rows)
  found = [
    r
    for s in range(num_shards)
    for clip in spool.read_shard(epath.Path(folder), s, num_shards)
    for r in clip
  ]
  assert sorted(found, key=lambda r: r.number) == rows


def test_clips_are_spread_evenly():
  counts = [0] * 8
  for i in range(8000):
    counts[spool.place(f"clip {i}") * 8 >> 64] += 1
  # 1000 each; the standard deviation of a fair spread is 30.
  assert all(880 < count < 1120 for count in counts)
  # Places must never change: data sets on disk are sorted by them.
  assert spool.place("LZq4Neh-oWU") == 14575549995185526873
