"""Results that were not made alike are not shown beside each other."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

import made_up_results
from ltu_jax.evaluate.errors import EvaluateError
from ltu_jax.evaluate.page import comparing, folders, paired
from ltu_jax.evaluate.page.folders import Run
from ltu_jax.evaluate.result import Metric


def results(model, seed=0, **changes):
  """One small result, some of its fields changed."""
  made, items = made_up_results.one_label(
    "esc50", "ESC-50", ("dog", "cat", "rain", "sea"), 0.7, model, seed, 40
  )
  return dataclasses.replace(made, **changes), items


def read(tmp_path, *all_results):
  """Checkpoints of one result each."""
  return folders.read(
    [
      made_up_results.write(tmp_path / str(number), [one])
      for number, one in enumerate(all_results)
    ]
  )


def test_results_made_alike_are_compared(tmp_path):
  # Elsewhere, later, by other code, on other devices: no other question.
  other = results("b", 1)
  source = {f"/elsewhere/{k}": v for k, v in other[0].data["source"].items()}
  other = (
    dataclasses.replace(
      other[0],
      data=other[0].data | {"source": source, "missing": []},
      made="2027-01-01T00:00:00+00:00",
      devices="1 x other",
      revision="",
      seconds=1.0,
    ),
    other[1],
  )
  assert comparing.check(read(tmp_path, results("a"), other), ()) == []


@pytest.mark.parametrize(
  "settings, field, values",
  [
    ({"question": "What?"}, "question", ("Close-ended", "What?")),
    ({"decode": {"temperature": 1.0}}, "decode.temperature", ("0.1", "1.0")),
    ({"embedder": "e5"}, "embedder", ("all-MiniLM", "e5")),
    ({"seed": 1}, "seed", ("0", "1")),
    ({"limit": 100}, "limit", ("None", "100")),
    ({"new": "x"}, "new", ("not given", "x")),
  ],
)
def test_another_setting_is_refused_by_name(tmp_path, settings, field, values):
  other = results("b", settings=made_up_results.SETTINGS | settings)
  checkpoints = read(tmp_path, results("a"), other)
  with pytest.raises(EvaluateError) as refused:
    comparing.check(checkpoints, ["data"])
  text = str(refused.value)
  assert f"ESC-50: settings: {field}: {values[0]}" in text
  assert f"{values[1]} (b)" in text and "--allow=settings " in text
  found = comparing.check(checkpoints, ["settings"])
  assert field in [d.field for d in found]
  assert {d.kind for d in found} == {"settings"}


def test_other_data_are_refused_by_name(tmp_path):
  made, items = results("b")
  data = made.data | {"source": {"data/esc50.csv": "0" * 64}, "found": 7}
  items = [*items[1:], dataclasses.replace(items[0], truth=("bird",))]
  other = dataclasses.replace(made, data=data), items
  checkpoints = read(tmp_path, results("a"), other)
  with pytest.raises(EvaluateError) as refused:
    comparing.check(checkpoints, ["settings"])
  lines = str(refused.value).splitlines()[1:-1]
  assert lines == [
    f"  ESC-50: data: source.esc50.csv: {made_up_results.SHA} (a); "
    + "0" * 64
    + " (b)",
    "  ESC-50: data: found: 1998 (a); 7 (b)",
    "  ESC-50: data: items and their truth: 1 of 40 are not in all (a);"
    " 1 of 40 are not in all (b)",
  ]
  assert len(comparing.check(checkpoints, ["data", "settings"])) == 3


def test_a_difference_at_the_end_of_a_long_text_is_seen(tmp_path):
  long = "very " * 60
  pair = [
    results(name, settings={"question": long + name + "!"})
    for name in ("left", "right")
  ]
  (found,) = comparing.differences(read(tmp_path, *pair))
  assert found.values["left"].startswith("…")
  assert found.values["left"].endswith("very left!")
  assert found.values["right"].endswith("very right!")


def test_many_differences_are_counted_and_unknown_kinds_named(tmp_path):
  other = results("b", settings={str(i): i for i in range(40)})
  checkpoints = read(tmp_path, results("a", settings={}), other)
  with pytest.raises(EvaluateError, match=r"\n  and 20 more\n"):
    comparing.check(checkpoints, ())
  with pytest.raises(EvaluateError, match="--allow=all: there are only"):
    comparing.check(checkpoints, ["all", "data"])


def test_sets_of_one_checkpoint_alone_differ_from_nothing(tmp_path):
  made, items = results("b", settings={"seed": 9})
  other = dataclasses.replace(made, set="mini"), items
  assert comparing.check(read(tmp_path, results("a"), other), ()) == []


def test_folders_without_results_of_one_model_are_refused(tmp_path):
  with pytest.raises(EvaluateError, match="no such folder"):
    folders.read([tmp_path / "none"])
  with pytest.raises(EvaluateError, match="holds no results"):
    folders.read([tmp_path])
  with pytest.raises(EvaluateError, match="needs a folder"):
    folders.read([])
  one = made_up_results.write(tmp_path / "one", [results("a")])
  with pytest.raises(EvaluateError, match="given twice"):
    folders.read([one, tmp_path / "one" / ".." / "one"])
  made, items = results("b")
  made_up_results.write(one, [(dataclasses.replace(made, set="tut"), items)])
  with pytest.raises(EvaluateError, match="of different models"):
    folders.read([one])


def test_checkpoints_of_one_name_are_told_apart_by_folder(tmp_path):
  (tmp_path / "0").mkdir()
  (tmp_path / "0" / "config.json").write_text("{}")
  names = [c.name for c in read(tmp_path, results("a"), results("a", 1))]
  assert names == [f"a ({tmp_path / '0'})", f"a ({tmp_path / '1'})"]


def test_a_damaged_result_is_named(tmp_path):
  one = made_up_results.write(tmp_path, [results("a")])
  (one / "esc50.items.jsonl").write_text("{}\n")
  with pytest.raises(EvaluateError, match=r"esc50\.items\.jsonl"):
    folders.read([one])
  (one / "esc50.json").write_text("[]")
  with pytest.raises(EvaluateError, match=r"esc50\.json"):
    folders.read([one])


def test_the_paired_interval_is_that_of_scipy():
  before, after = (Run(*results(name, i)) for i, name in enumerate("ab"))
  found = paired.difference(before, after)
  scores = [
    np.array([x.score["published"] for x in run.items])
    for run in (before, after)
  ]
  gained = scores[1] - scores[0]
  assert found.value == pytest.approx(gained.mean()) and found.count == 40
  want = scipy.stats.bootstrap(
    (gained,),
    np.mean,
    n_resamples=20_000,
    method="percentile",
    random_state=np.random.default_rng(1),
  ).confidence_interval
  # Means of 40 items have a deviation of 0.1, so an end that is read off 2000
  # draws is sure to 0.006; but it lies on a step of 1 / 40. Two steps.
  assert found.low == pytest.approx(want.low, abs=0.05)
  assert found.high == pytest.approx(want.high, abs=0.05)
  assert paired.difference(before, after) == found
  assert paired.difference(before, before).low == 0


def test_only_common_items_count_in_a_paired_difference():
  made, items = results("a")
  scores = lambda xs: np.mean([x.score["published"] for x in xs])
  metric = lambda xs: [made_up_results.accuracy([scores(xs)])]
  cut = [dataclasses.replace(made, metrics=metric(x)) for x in (items[5:],)]
  found = paired.difference(Run(made, items), Run(cut[0], items[5:]))
  assert (found.value, found.count) == (0, 35)


def test_there_is_no_paired_difference_of_what_is_no_mean():
  made, items = results("a")
  mean_precision = Metric("mAP", 0.123, "published", headline=True)
  other = dataclasses.replace(made, metrics=[mean_precision])
  assert paired.difference(Run(made, items), Run(other, items)) is None
  none = dataclasses.replace(made, metrics=[])
  assert paired.difference(Run(made, items), Run(none, items)) is None


def test_an_item_without_an_answer_is_wrong_where_the_number_says_so():
  made, items = results("a")
  items[0] = dataclasses.replace(items[0], score={}, error="none")
  right = sum(x.score.get("published", 0) for x in items)
  for count in (39, 40):
    metric = Metric("accuracy", right / count, "published", headline=True)
    run = Run(dataclasses.replace(made, metrics=[metric]), items)
    assert paired.difference(run, run).count == count
