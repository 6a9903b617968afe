"""Clips that cannot be read: told once, counted, too many stop a run."""

import json
import re
import shutil

import jax
import numpy as np
import pytest

import made_up_sounds
from ltu_jax import stage_run, train, workdir
from ltu_jax.config import ConfigError
from ltu_jax.data import prepare
from ltu_jax.data.openaqa import Unreadable
from ltu_jax.unreadable import Skipped, UnreadableError
from tiny_run import tiny


def bad(clip, row=0):
  return Unreadable(row, clip, f"clip-{clip}", f"reason {clip}")


def lines(path):
  return [json.loads(line) for line in path.open()]


def test_each_clip_is_told_once(tmp_path, capsys):
  skipped = Skipped(tmp_path, 1, 0.01)
  skipped.tell(1, [])
  assert not list(tmp_path.iterdir())
  skipped.tell(3, [bad(7, 70), bad(7, 71), bad(8, 80)])
  skipped.tell(4, [bad(8, 81), Unreadable(90, 9, "", "torn")])
  assert capsys.readouterr().out.splitlines() == [
    "stage 1  step 3  skipped clip 7 'clip-7': reason 7",
    "stage 1  step 3  skipped clip 8 'clip-8': reason 8",
    "stage 1  step 4  skipped clip 9: torn",
  ]
  where = tmp_path / "unreadable.jsonl"
  assert lines(where)[0] == {
    "stage": 1,
    "step": 3,
    "row": 70,
    "clip": 7,
    "id": "clip-7",
    "reason": "reason 7",
  }
  # The next stage, after a kill in the middle of a line.
  with where.open("a") as file:
    file.write('{"stage": 1, "st')
  Skipped(tmp_path, 2, 0.01).tell(1, [bad(8), bad(10)])
  assert [line["clip"] for line in lines(where)] == [7, 8, 9, 10]
  assert lines(where)[2]["id"] is None
  Skipped(tmp_path, 2, 0.01, process=3).tell(1, [bad(8)])
  assert [x["clip"] for x in lines(tmp_path / "unreadable-3.jsonl")] == [8]


@pytest.mark.parametrize(
  "line",
  ["{}", "3", '{"clip": null}', '{"clip": "../x"}', "[" * 9**5, "9" * 5000],
)
def test_a_line_of_another_kind_is_named(tmp_path, line):
  path = tmp_path / "unreadable.jsonl"
  path.write_text(f'{{"clip": 3}}\n{line}\n{{"cl')
  before = path.read_bytes()
  with pytest.raises(UnreadableError, match=r"unreadable\.jsonl: line 2 names"):
    Skipped(tmp_path, 1, 0.5)
  assert path.read_bytes() == before
  path.write_bytes(b"\xff\n")
  with pytest.raises(UnreadableError, match="line 1 names no clip"):
    Skipped(tmp_path, 1, 0.5)


@pytest.mark.parametrize(
  ("max_share", "steps", "stops_after"),
  [
    # One bad row in the first batch, and few after many good ones.
    (0.01, [(1, 4)] + [(0, 4)] * 99, None),
    (0.01, [(1, 1), (0, 1), (1, 1)], None),
    (0.01, [(1, 8)] * 12, 10),
    # Ten of a thousand are no more than the share, eleven are.
    (0.01, [(0, 90)] * 11 + [(10, 10), (1, 1)], 13),
    (0.5, [(1, 2)] * 50 + [(1, 1)], 51),
    # All of them, at once; none may be; all may be.
    (0.01, [(4, 4)], 1),
    (0.0, [(0, 4), (1, 4)], 2),
    (1.0, [(4, 4)] * 50, None),
  ],
)
def test_more_than_the_share_stops(tmp_path, max_share, steps, stops_after):
  skipped = Skipped(tmp_path, 1, max_share)
  for number, (count, rows) in enumerate(steps, 1):
    if number == stops_after:
      with pytest.raises(UnreadableError):
        skipped.count(count, rows)
      return
    skipped.count(count, rows)
  assert stops_after is None


def test_the_error_lists_clips_and_says_what_to_do(tmp_path):
  skipped = Skipped(tmp_path, 3, 0.25)
  skipped.tell(1, [bad(clip) for clip in range(23)])
  with pytest.raises(UnreadableError) as caught:
    skipped.count(23, 64)
  message = str(caught.value)
  assert "23 of 64 rows of stage 3" in message
  assert "config.data.max_unreadable is 0.25" in message
  for clip in range(20):
    assert f"  clip {clip} 'clip-{clip}': reason {clip}\n" in message
  assert "reason 20" not in message and "  and 3 more\n" in message
  assert str(tmp_path / "unreadable.jsonl") in message
  assert len(lines(tmp_path / "unreadable.jsonl")) == 23


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
  """Sounds, the data set made of them and a tokenizer."""
  root = tmp_path_factory.mktemp("sounds")
  made_up_sounds.write_folder(root / "classes")
  train_set, _ = prepare.open_splits(tiny(root).data)
  prepare.train_tokenizer(train_set, 330, root / "tokenizer.model")
  return root


def damaged(sounds, tmp_path, clips):
  """The config of a run on a copy of the data set with damaged records."""
  shutil.copytree(sounds / "data", tmp_path / "data")
  config = tiny(sounds)
  config.data.dir = str(tmp_path / "data")
  config.tokenizer.model = str(sounds / "tokenizer.model")
  whole, _ = prepare.open_splits(config.data)
  (file,) = (tmp_path / "data").rglob("*train.array_record*")
  data = bytearray(file.read_bytes())
  for clip in clips:
    # FLAC at the end of its record: compressed as it is, zstd lets it be.
    audio = whole.clips[clip]["audio"]
    data[data.index(audio[-400:-200])] ^= 1
  file.write_bytes(data)
  return config


def stages(config, *names):
  return {name: config.stages[name].to_dict() for name in names}


@pytest.fixture
def seen(monkeypatch):
  """Which batches were trained on: (stage, step) -> batch."""
  batches = {}
  following = stage_run.StageRun.next_batch

  def keep(self, iterator, step, save_failed=False):
    batch = following(self, iterator, step, save_failed)
    batches[self.stage.number, step] = jax.device_get(batch)
    return batch

  monkeypatch.setattr(stage_run.StageRun, "next_batch", keep)
  return batches


@pytest.mark.slow
def test_a_run_skips_a_damaged_clip_and_says_so(sounds, tmp_path, capsys, seen):
  config = damaged(sounds, tmp_path, [4])
  config.stages = stages(config, "stage1", "stage2")
  train.run(config, str(tmp_path / "run"))
  out = capsys.readouterr().out
  assert "finished in" in out
  skipped = {
    key: int((~batch["segment_ids"].any(-1)).sum())
    for key, batch in seen.items()
  }
  assert len(skipped) == 6 and sum(skipped.values()) >= 2
  metrics = lines(tmp_path / "run/metrics.jsonl")
  for line in metrics:
    count = skipped[line["stage"], line["step"] - 1]
    assert line.get("skipped") == (count or None)
    assert line["loss"] > 0
  (line,) = lines(tmp_path / "run/unreadable.jsonl")
  first = min(key for key, count in skipped.items() if count)
  assert (line["stage"], line["step"] - 1) == first
  assert (line["clip"], line["id"]) == (4, None)
  assert "data hash mismatch" in line["reason"]
  assert re.findall("skipped clip [^:]*", out) == ["skipped clip 4"]

  # The same stage after no other stage has the same batches; so has a stage
  # that was stopped and goes on.
  want = dict(seen)
  seen.clear()
  config.stages = stages(config, "stage2")
  config.checkpoint_every = 1
  write = train.Metrics.write
  with pytest.MonkeyPatch.context() as patch:

    def dies(self, stage, step, values):
      if step == 2:
        raise KeyboardInterrupt
      write(self, stage, step, values)

    patch.setattr(train.Metrics, "write", dies)
    with pytest.raises(KeyboardInterrupt):
      train.run(config, str(tmp_path / "alone"))
  assert {(2, 0), (2, 1)} <= seen.keys()
  train.run(config, str(tmp_path / "alone"))
  assert "going on at step 1" in capsys.readouterr().out
  assert seen.keys() == {(2, 0), (2, 1), (2, 2)}
  for key, batch in seen.items():
    for name, value in batch.items():
      np.testing.assert_array_equal(value, want[key][name])


def test_too_many_damaged_clips_stop_a_run(sounds, tmp_path):
  config = damaged(sounds, tmp_path, range(1, 12))
  config.stages = stages(config, "stage1")
  folder = tmp_path / "run"
  with pytest.raises(UnreadableError, match="data hash mismatch") as caught:
    train.run(config, str(folder))
  assert isinstance(caught.value, train.USER_ERRORS)
  found = lines(folder / "unreadable.jsonl")
  assert len(found) > 4
  for line in found:
    assert f"  clip {line['clip']}: {line['reason']}\n" in str(caught.value)
  # What was trained until then is written down and kept.
  steps = [line["step"] for line in lines(folder / "metrics.jsonl")]
  assert steps == [1, 2][: len(steps)] and steps
  kept = {p.name for p in (folder / "checkpoints/stage1").glob("[0-9]*")}
  assert kept <= {"1"}
  # The share may be raised for the same folder, and the run then goes on.
  config.data.max_unreadable = 1.0
  train.run(config, str(folder))
  assert [x["step"] for x in lines(folder / "metrics.jsonl")] == [1, 2, 3]
  assert workdir.Workdir(folder).read_config()["data"]["max_unreadable"] == 1.0


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_a_share(sounds, tmp_path, share):
  config = tiny(sounds)
  config.data.max_unreadable = share
  with pytest.raises(ConfigError, match=r"data\.max_unreadable is .* 0\.\.1"):
    train.run(config, str(tmp_path))
